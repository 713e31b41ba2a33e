"""Carry out a plan: stage by stage, some changes at a time, to the end of what can be done."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from app.cli.configuration.live import AT_ONCE, acting
from app.cli.configuration.plan import DEFAULTS, ConfigChange, Plan
from app.cli.configuration.references import BadReference, resolved
from app.cli.configuration.schema import EVENT_TYPE_FIELDS
from app.core.errors import CommandRefused, HookstreamError, Unavailable

if TYPE_CHECKING:
    from app.adapters.http.api_client import ApiClient

ChangeState = Literal["done", "failed", "not tried"]
#: refusals after which no other change can succeed
_HOPELESS = ("unauthorized", "forbidden", "too_many_requests")
#: fields of an entry that are no settings to patch
_NOT_PATCHED = ("uid", "profile", "secret", "signing_key", "unsigned")


class ChangeOutcome(msgspec.Struct, kw_only=True):
    """How a change ended."""

    change: ConfigChange
    state: ChangeState = "not tried"
    #: why it failed
    reason: str = ""


class NewSecret(msgspec.Struct, frozen=True, kw_only=True):
    """A signing secret that the service has generated."""

    tenant: str
    mode: str
    uid: str
    id: str
    secret: str


class Run(msgspec.Struct, kw_only=True):
    """The outcomes so far."""

    outcomes: list[ChangeOutcome]
    generated: int = 0
    #: the error that ended the run before its end
    ended_by: HookstreamError | None = None
    interrupted: bool = False

    def count(self, state: ChangeState) -> int:
        """The changes that ended so."""
        return sum(each.state == state for each in self.outcomes)


async def carry_out(api: ApiClient, plan: Plan, on_secret: Callable[[NewSecret], None]) -> Run:
    """Make the changes. After Ctrl-C the ones that have begun are completed, and no other begins."""
    run = Run(outcomes=[ChangeOutcome(change=change) for change in plan.changes])
    with _progress(len(run.outcomes)) as advance:
        for stage in _stages(run.outcomes):
            await _stage(api, run, stage, on_secret, advance)
            if run.ended_by is not None or run.interrupted:
                break
    return run


def _stages(outcomes: list[ChangeOutcome]) -> list[list[ChangeOutcome]]:
    """Tenants before what they own, event types before subscriptions, deletions at the end."""
    rank: Mapping[str, int] = {"tenant": 0, "event type": 1, "endpoint": 2}
    stages: dict[int, list[ChangeOutcome]] = {}
    for each in outcomes:
        number = 3 if each.change.action == "delete" else rank[each.change.kind]
        stages.setdefault(number, []).append(each)
    return [stages[number] for number in sorted(stages)]


async def _stage(
    api: ApiClient,
    run: Run,
    stage: list[ChangeOutcome],
    on_secret: Callable[[NewSecret], None],
    advance: Callable[[], None],
) -> None:
    waiting = iter(stage)

    async def work() -> None:
        for outcome in waiting:
            if run.ended_by is not None or run.interrupted:
                return
            await _make(api, run, outcome, on_secret)
            advance()

    workers = [asyncio.ensure_future(work()) for _ in range(min(AT_ONCE, len(stage)))]
    try:
        await asyncio.wait(workers)
    except asyncio.CancelledError:  # Ctrl-C; the workers are not cancelled by it, and end after their present change
        run.interrupted = True
        await asyncio.wait(workers)
    for worker in workers:
        worker.result()


async def _make(api: ApiClient, run: Run, outcome: ChangeOutcome, on_secret: Callable[[NewSecret], None]) -> None:
    change = outcome.change
    try:
        secret = await _send(acting(api, change.scope), change)
        outcome.state = "done"
    except BadReference as error:
        outcome.state, outcome.reason = "failed", str(error)
        return
    except (CommandRefused, Unavailable) as error:
        outcome.state, outcome.reason = "failed", str(error)
        if isinstance(error, Unavailable) or error.code in _HOPELESS:
            run.ended_by = error
        return
    if secret is not None:
        run.generated += 1
        on_secret(secret)


async def _send(api: ApiClient, change: ConfigChange) -> NewSecret | None:
    match change.kind:
        case "tenant":
            await _send_tenant(api, change)
        case "event type":
            await _send_event_type(api, change)
        case _ if change.entry is None:
            assert change.live is not None, "it exists"
            await api.delete("webhooks", _id(change), expect_version=change.live["version"])
        case _:
            return await _send_endpoint(api, change, change.entry.values)
    return None


async def _send_tenant(api: ApiClient, change: ConfigChange) -> None:
    assert change.entry is not None, "tenants are never deleted"
    if change.live is None:
        await api.post("tenants", body=change.entry.values)
    else:
        await api.put("tenants", change.name, body=change.entry.values, expect_version=change.live["version"])


async def _send_event_type(api: ApiClient, change: ConfigChange) -> None:
    assert change.entry is not None, "event types are never deleted"
    body = {name: change.entry.values[name] for name in EVENT_TYPE_FIELDS if name in change.entry.values}
    await api.put("event-types", change.name, body=body)


async def _send_endpoint(api: ApiClient, change: ConfigChange, values: Mapping[str, Any]) -> NewSecret | None:
    assert change.entry is not None
    folder = change.entry.place.file.parent
    if change.live is None:
        created = await api.post("webhooks", body=resolved(values, folder))
        return _new_secret(change, created) if "secret" not in values else None
    fields = {each.top for each in change.differences}
    patch = {name: resolved(values.get(name, DEFAULTS.get(name)), folder) for name in fields.difference(_NOT_PATCHED)}
    keys = {name: resolved(values[name], folder) for name in ("secret", "signing_key") if name in fields}
    if patch:
        await api.patch("webhooks", _id(change), body=patch, expect_version=change.live["version"])
    for name, key in keys.items():
        await api.post("webhooks", _id(change), f"rotate-{name.replace('_', '-')}", body={name: key})
    if "unsigned" in fields:
        rotated = await api.post("webhooks", _id(change), "rotate-secret", body={"remove": values["unsigned"]})
        return None if values["unsigned"] else _new_secret(change, rotated)
    return None


def _id(change: ConfigChange) -> str:
    assert change.live is not None, "it exists"
    id_: str = change.live["id"]
    return id_


def _new_secret(change: ConfigChange, answer: Mapping[str, Any]) -> NewSecret | None:
    secret = answer.get("secret")
    if not secret:
        return None
    return NewSecret(
        tenant=change.scope.tenant,
        mode=answer.get("mode", change.scope.mode),
        uid=change.name,
        id=answer["id"],
        secret=secret,
    )


class _progress:
    """A bar on standard error, where that is a terminal."""

    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import Progress

        hidden = not sys.stderr.isatty() or total < AT_ONCE
        self._progress = Progress(console=Console(stderr=True), transient=True, disable=hidden)
        self._total = total

    def __enter__(self) -> Callable[[], None]:
        self._progress.start()
        bar = self._progress.add_task("applying", total=self._total)
        return lambda: self._progress.update(bar, advance=1)

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
