"""`hookstream groups`: where the consumer groups of the roles stand, and resets of their offsets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.adapters.clock import SystemClock
from app.cli.connect import process_context
from app.cli.connect.kafka_rights import require
from app.cli.terminal.output import OutputFormat, OutputOption, show, show_one
from app.core.errors import CommandRefused, ConfigError
from app.core.model.timestamps import iso, moment

if TYPE_CHECKING:
    from app.adapters.kafka.clients import KafkaClients
    from app.adapters.kafka.groups import GroupStanding
    from app.core.offsets.resets import OffsetReset

app = typer.Typer(
    no_args_is_help=True,
    help="The consumer groups of the roles: lag, members and resets of offsets, by the roles' names. Over Kafka.",
)

#: roles whose offsets may be reset, and what reading records again means
RESETTABLE = {
    "intake": "Their events are appended again. Fan-out drops those whose id it has accepted within "
    "HOOKSTREAM_IDEMPOTENCY_TTL_HOURS; older ones are delivered again.",
    "fanout": "Their events go to the endpoints that match now, as a replay of all tenants (header webhook-replay).",
    "dispatch": "Their deliveries are sent again, under the ids that receivers have seen.",
    "notifier": "Their e-mails are sent again.",
}
#: why the offsets of the other roles may not
REFUSED = {
    "sequencer": "deliveries would be released twice, or never. To send events again, reset fanout or start a replay.",
    "delay": "retries that were made would be made again, and others never. Use `hookstream deliveries retry`.",
    "registry": "changes that were made would be made again.",
    "health": "failures would be counted twice. The group goes on by itself.",
    "projection": "its offsets are in the database. Use `hookstream readmodel rebuild`.",
}


@app.command("show")
def show_(
    role: Annotated[str | None, typer.Argument(help="Only this role, by partition. Default: all, by topic.")] = None,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Show members, and how many records each role's group is behind.

    Examples:
        hookstream groups show
        hookstream groups show fanout -o json
    """
    from app.adapters.kafka.groups import KafkaGroups

    roles = _with_groups() if role is None else [_with_group(role)]

    async def work() -> dict[str, GroupStanding]:
        clients = process_context.clients()
        topics = {each: await _topics(clients, each) for each in roles}
        shown = [topic for names in topics.values() for topic in names]
        await require(clients, shows=shown, shows_groups=list(map(_group, roles)))
        async with KafkaGroups.opened(clients) as groups:
            return {each: await groups.standing(_group(each), topics[each]) for each in roles}

    standings = process_context.run(work())
    if role is None:
        rows = [row for name, standing in standings.items() for row in _by_topic(name, standing)]
        show(rows, ("role", "topic", "state", "members", "lag"), output, "", ("group", "clients"))
    else:
        rows = _by_partition(role, standings[role])
        show(rows, ("topic", "partition", "committed", "end", "lag"), output, "", ("role", "group", "begin"))


@app.command("reset")
def reset(
    role: Annotated[str, typer.Argument(help=f"The role: {', '.join(RESETTABLE)}.")],
    to_datetime: Annotated[
        str,
        typer.Option(
            metavar="TIME", help="ISO 8601 with a time zone, an age (90s, 2h, 3d), `begin`, or `now`: the log's end."
        ),
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
    allow_skip: Annotated[
        bool, typer.Option("--allow-skip", help="Also move offsets forward: the records between are never read.")
    ] = False,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Reset the offsets of a role's group to the first records with that time or a later one.

    Stop all processes with the role first: Kafka refuses to reset a group with members. The other roles may continue.

    Examples:
        hookstream groups reset fanout --to-datetime 2h --dry-run
        hookstream groups reset fanout --to-datetime 2026-01-31T08:00:00Z
    """
    from app.adapters.kafka.groups import KafkaGroups
    from app.core.offsets.resets import resets

    process_context.or_fail(lambda: _check_resettable(role))
    _with_group(role)
    at_ms = _moment(to_datetime)

    async def work() -> list[OffsetReset]:
        clients, group = process_context.clients(), [_group(role)]
        topics = await _topics(clients, role)
        # to commit offsets is to read: both the group and its topics
        await require(clients, reads=topics, shows_groups=group, joins_groups=() if dry_run else group)
        async with KafkaGroups.opened(clients) as groups:
            standing = await groups.standing(_group(role), topics)
            changes = resets(standing.partitions, await groups.at(topics, at_ms))
            if dry_run:
                return changes
            _check_possible(role, standing, changes, allow_skip)
            if changes:
                await groups.reset(standing.group, changes)
            return changes

    _show_reset(role, at_ms, process_context.run(work()), dry_run, output)


def _check_resettable(role: str) -> None:
    if role in REFUSED:
        raise CommandRefused("forbidden", f"the offsets of {role} are not reset: {REFUSED[role]}")
    if role not in RESETTABLE:
        raise ConfigError([f"{role} is not a role whose offsets can be reset: one of {', '.join(RESETTABLE)}"])


def _check_possible(role: str, standing: GroupStanding, changes: Sequence[OffsetReset], allow_skip: bool) -> None:
    if standing.members:
        number = f"{len(standing.members)} member{'s' if len(standing.members) > 1 else ''}"
        raise CommandRefused(
            "conflict",
            f"the group {standing.group} has {number} ({', '.join(standing.members)}). Stop all "
            f"processes with the role {role}; one that was killed is a member until its session timeout ends.",
        )
    skipped = sum(each.skipped for each in changes)
    if skipped and not allow_skip:
        raise CommandRefused(
            "conflict",
            f"{skipped} records after the current offsets would never be read. --allow-skip does it all the same.",
        )


def _show_reset(role: str, at_ms: int, changes: Sequence[OffsetReset], dry_run: bool, output: OutputFormat) -> None:
    again, skipped = sum(each.again for each in changes), sum(each.skipped for each in changes)
    rows: list[dict[str, Any]] = [
        {
            "topic": each.topic,
            "partition": each.partition,
            "current": each.current,
            "target": each.target,
            "again": each.again,
            "skipped": each.skipped,
        }
        for each in changes
    ]
    if output is OutputFormat.json:
        summary = {"role": role, "to": iso(at_ms), "dry_run": dry_run, "again": again, "skipped": skipped}
        show_one(summary | {"partitions": rows}, output)
        return
    show(rows, ("topic", "partition", "current", "target", "again", "skipped"), output, "No offset changes.")
    would = "would be" if dry_run else "will be"
    if again:
        print(f"{again} records {would} read again. {RESETTABLE[role]}")
    if skipped:
        print(f"{skipped} records {would} skipped: no process reads them.")
    if changes and not dry_run:
        print(f"The offsets are reset. Start the processes with the role {role} again.")


def _by_topic(role: str, standing: GroupStanding) -> list[dict[str, Any]]:
    lags: dict[str, int] = {}
    for each in standing.partitions:
        lags[each.topic] = lags.get(each.topic, 0) + each.lag
    shared = {"state": standing.state, "members": len(standing.members), "group": standing.group}
    return [
        {"role": role, "topic": topic, "lag": lag, "clients": list(standing.members), **shared}
        for topic, lag in lags.items()
    ]


def _by_partition(role: str, standing: GroupStanding) -> list[dict[str, Any]]:
    return [
        {
            "role": role,
            "group": standing.group,
            "topic": each.topic,
            "partition": each.partition,
            "committed": each.committed,
            "begin": each.begin,
            "end": each.end,
            "lag": each.lag,
        }
        for each in standing.partitions
    ]


def _with_groups() -> list[str]:
    """The roles that consume, with these settings."""
    from app.runtime.roles import GROUPS, present_roles

    present = present_roles(process_context.or_fail(process_context.settings))
    return [role for role in GROUPS if role in present]


def _with_group(role: str) -> str:
    roles = _with_groups()
    if role not in roles:
        raise typer.BadParameter(f"{role} is not a role with a consumer group: one of {', '.join(roles)}")
    return role


def _group(role: str) -> str:
    from app.runtime.group_names import group_of

    return group_of(process_context.settings(), role)


async def _topics(clients: KafkaClients, role: str) -> list[str]:
    """The topics that a role's group consumes; those of inputs, as far as they exist."""
    from app.runtime.roles import GROUPS, ROLES
    from app.runtime.topics import topics_of

    topics = topics_of(process_context.settings())
    if not ROLES[role].reads_inputs:
        return [topics.name(each) for each in GROUPS[role]]
    from app.adapters.kafka.input_topics import existing_input_topics
    from app.runtime.inputs import inputs_of

    return list(await existing_input_topics(clients, inputs_of(process_context.settings(), topics)))


def _moment(text: str) -> int:
    try:
        return moment(text, SystemClock().now_ms())
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(f"--to-datetime {error}") from error
