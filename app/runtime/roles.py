"""The roles of Hookstream: one row for each. The consumer groups and the tables of the documents derive from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from app.core.errors import ConfigError
from app.core.readmodel.batch import TOPICS as PROJECTED
from app.core.topics.names import RUNGS, TopicName
from app.runtime.group_names import PULL_GROUPS
from app.settings import Settings

if TYPE_CHECKING:
    from app.runtime.build.shared import Shared
    from app.runtime.supervisor import Role


class RoleSpec(Struct, frozen=True, kw_only=True):
    """The declaration of a role, for the runtime and the documents."""

    #: `hookstream run NAME`, group `<prefix>hookstream.NAME`, metric label, folder app/roles/NAME
    name: str
    #: logical topics that its group consumes, whose lag is sampled and judged by the watchdog
    reads: tuple[str, ...] = ()
    #: a new instance, also after a failure; heavy libraries are imported inside
    build: Callable[[Shared], Role]
    #: how more processes share the work
    scaling: str
    #: what the role writes to the data folder
    state: str = "none"
    #: logical topics that its group joins only to elect one worker, without reading them
    elects: tuple[str, ...] = ()
    #: roles of whose groups it reads the committed offsets
    inspects: tuple[str, ...] = ()
    #: beginnings of further groups' names, whose offsets it commits without joining them
    commits: tuple[str, ...] = ()
    #: whether `groups reset` may reset the offsets of its group
    resettable: bool = False
    #: whether it writes in transactions; its transactional id is its group's name
    transactional: bool = False
    #: whether its group consumes the topics of inputs, which are no topics of Hookstream's own
    reads_inputs: bool = False
    #: the setting without which the role has nothing to do and is left out
    needs: str | None = None


def _intake(shared: Shared) -> Role:
    from app.runtime.build.intake import intake_role

    return intake_role(shared)


def _fanout(shared: Shared) -> Role:
    from app.runtime.build.streams import fanout_role

    return fanout_role(shared)


def _dispatch(shared: Shared) -> Role:
    from app.runtime.build.dispatch import dispatch_role

    return dispatch_role(shared)


def _sequencer(shared: Shared) -> Role:
    from app.runtime.build.streams import sequencer_role

    return sequencer_role(shared)


def _delay(shared: Shared) -> Role:
    from app.runtime.build.delay import delay_role

    return delay_role(shared)


def _registry(shared: Shared) -> Role:
    from app.runtime.build.registry import registry_role

    return registry_role(shared)


def _health(shared: Shared) -> Role:
    from app.runtime.build.streams import health_role

    return health_role(shared)


def _notifier(shared: Shared) -> Role:
    from app.runtime.build.notifier import notifier_role

    return notifier_role(shared)


def _replay(shared: Shared) -> Role:
    from app.runtime.build.replay import replay_role

    return replay_role(shared)


def _projection(shared: Shared) -> Role:
    from app.runtime.build.projection import projection_role

    return projection_role(
        shared.settings,
        shared.clients,
        shared.topics,
        shared.group("projection"),
        shared.feed,
        shared.clock,
        shared.meter,
        shared.dependencies.of("database"),
    )


def _api(shared: Shared) -> Role:
    from app.runtime.build.api import api_role

    return api_role(shared)


_TABLES = "tables in `HOOKSTREAM_DATA_DIR`, rebuilt from their changelogs"
_ONE_WORKS = "two processes: one works, the other stands by"

#: in the order in which they start
ROLES = {
    spec.name: spec
    for spec in (
        RoleSpec(
            name="intake",
            build=_intake,
            scaling="more processes, up to the partitions of the inputs' topics; absent without `HOOKSTREAM_INPUTS`",
            resettable=True,
            reads_inputs=True,
            needs="inputs",
        ),
        RoleSpec(
            name="fanout",
            reads=(TopicName.EVENTS_RAW,),
            build=_fanout,
            scaling="more processes, up to the partitions of `events.raw`",
            state=_TABLES,
            resettable=True,
        ),
        RoleSpec(
            name="dispatch",
            reads=(TopicName.DELIVERIES,),
            build=_dispatch,
            scaling="more processes, up to the partitions of `deliveries`",
            resettable=True,
        ),
        RoleSpec(
            name="sequencer",
            reads=(TopicName.DELIVERIES_ORDERED,),
            build=_sequencer,
            scaling="more processes, up to the partitions of `deliveries.ordered`",
            state=_TABLES,
        ),
        RoleSpec(
            name="delay",
            reads=tuple(f"{TopicName.DELIVERIES_DELAY}.{name}" for name, _ in RUNGS),
            build=_delay,
            scaling="more processes, up to the partitions of `deliveries`",
        ),
        RoleSpec(
            name="registry",
            reads=(TopicName.REGISTRY_COMMANDS,),
            build=_registry,
            scaling=_ONE_WORKS,
            transactional=True,
        ),
        RoleSpec(
            name="health",
            reads=(TopicName.ENDPOINTS_SIGNALS,),
            build=_health,
            scaling="more processes, up to the partitions of `endpoints.signals`",
            state="a table in `HOOKSTREAM_DATA_DIR`, rebuilt from its changelog",
            inspects=("fanout",),
        ),
        RoleSpec(name="notifier", reads=(TopicName.NOTICES,), build=_notifier, scaling=_ONE_WORKS, resettable=True),
        RoleSpec(
            name="replay",
            build=_replay,
            scaling=_ONE_WORKS,
            elects=(TopicName.REGISTRY_COMMANDS,),
            inspects=("fanout", "sequencer"),
        ),
        RoleSpec(
            name="projection",
            reads=tuple(PROJECTED),
            build=_projection,
            scaling="with PostgreSQL more processes, up to the partitions of `attempts`; with SQLite one",
            state="with SQLite `readmodel.sqlite3` in `HOOKSTREAM_DATA_DIR`, rebuilt from Kafka",
        ),
        RoleSpec(
            name="api",
            build=_api,
            scaling="any number of processes",
            commits=(PULL_GROUPS,),
            inspects=(
                "intake",
                "fanout",
                "dispatch",
                "sequencer",
                "delay",
                "registry",
                "health",
                "notifier",
                "projection",
            ),
        ),
    )
}


def require_roles(names: Sequence[str], settings: Settings) -> None:
    """Raise `ConfigError` for names that are no roles, or whose setting is missing, all of them at once."""
    problems = [f"unknown role {name}: one of {', '.join(ROLES)}, all" for name in sorted(set(names) - set(ROLES))]
    problems += [
        f"the role {name} has nothing to do: set HOOKSTREAM_{(ROLES[name].needs or '').upper()}"
        for name in sorted(set(names) & set(ROLES) - set(present_roles(settings)))
    ]
    if problems:
        raise ConfigError(problems)


def present_roles(settings: Settings) -> tuple[str, ...]:
    """The roles that have something to do with these settings: what `all` stands for."""
    return tuple(
        name for name, spec in ROLES.items() if spec.needs is None or getattr(settings, spec.needs) is not None
    )


#: the roles that every installation runs
EVERYWHERE = tuple(name for name, spec in ROLES.items() if spec.needs is None)
#: role → the logical topics that its group consumes, beside those of inputs; roles whose groups consume nothing are
#: left out
GROUPS = {name: spec.reads for name, spec in ROLES.items() if spec.reads or spec.reads_inputs}
