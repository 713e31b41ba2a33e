"""The health of an endpoint: when it counts as failing, when its owner is warned, when it is disabled.

Rules of this file
- Everything follows from the signals of the endpoint, in the order of their log, at the times of their records: the
  same records read again give the same state and the same actions. The machine is the table `TRANSITIONS`.
- A rule may count failed attempts in a row, or days in which every attempt failed, or both. The share of it that is
  used up decides. The first success clears everything.
- An endpoint has epochs: one begins when it is registered, enabled, or gets another URL. Each epoch begins healthy, and
  signals and actions of an earlier one mean nothing.
- `applied` is the last offset that the state includes. A record up to there that is read again changes nothing, and
  returns the same actions once more, since they may not have been written.
- Notices are bounded. For an hour after a recovery there is none, except for disabling. Dead deliveries cause one when
  the first, the tenth, the hundredth … of a day dies. An open circuit causes one after five minutes, and then another
  when it closes.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, assert_never

import msgspec

from app.core import wording
from app.core.model.clipping import clip
from app.core.model.endpoint import Endpoint, OpenCircuit
from app.core.model.ids import notice_id
from app.core.model.timestamps import iso
from app.core.records.notice import Notice, NoticeKind
from app.core.records.signal import HealthSignal
from app.profiles.policy import DisableRule, effective
from app.roles.health import wording as words
from app.roles.health.onset import DAY_MS, FailedAttempt, begins

HealthStage = Literal["healthy", "failing", "shown", "warned", "urgent", "disabled"]
HealthTrigger = Literal["success", "failure", "lasting", "half", "three_quarters", "over", "gone", "rest", "renewal"]
HealthEffect = Literal["show", "hide", "warn", "disable", "announce_recovery"]

#: an endpoint is shown as failing after this time: most failures are over sooner
_LASTING_MS = 600_000
_QUIET_MS = 3_600_000
#: an open circuit causes a notice after this time
_SILENT_MS = 300_000
#: batches of actions that a state remembers, for records that are read again
_REMEMBERED = 16
#: bytes of JSON of a text in a notice: a state remembers 16 batches of notices
_TEXT = 2048


class HealthTransition(NamedTuple):
    """One row of the machine."""

    stages: tuple[HealthStage, ...]
    trigger: HealthTrigger
    to: HealthStage
    effects: tuple[HealthEffect, ...]


_WELL: tuple[HealthStage, ...] = ("healthy", "failing", "shown")
_ON: tuple[HealthStage, ...] = (*_WELL, "warned", "urgent")

#: a trigger without a row changes nothing
TRANSITIONS: tuple[HealthTransition, ...] = (
    HealthTransition(("healthy",), "failure", "failing", ()),
    HealthTransition(("failing", "shown"), "lasting", "shown", ("show",)),
    HealthTransition(_WELL, "half", "warned", ("show", "warn")),
    HealthTransition(("warned",), "half", "warned", ("show",)),
    HealthTransition((*_WELL, "warned"), "three_quarters", "urgent", ("show", "warn")),
    HealthTransition(("urgent",), "three_quarters", "urgent", ("show",)),
    HealthTransition(_ON, "over", "disabled", ("show", "disable")),
    HealthTransition(_ON, "gone", "disabled", ("show", "disable")),
    HealthTransition(("failing",), "success", "healthy", ()),
    HealthTransition(("shown",), "success", "healthy", ("hide",)),
    HealthTransition(("warned", "urgent"), "success", "healthy", ("hide", "announce_recovery")),
    HealthTransition(("failing",), "rest", "healthy", ()),
    HealthTransition(("shown", "warned", "urgent"), "rest", "healthy", ("hide",)),
    HealthTransition((*_ON, "disabled"), "renewal", "healthy", ()),
)
_TABLE = {(stage, each.trigger): each for each in TRANSITIONS for stage in each.stages}


class ShowFailing(msgspec.Struct, frozen=True, array_like=True, tag="show"):
    """Show since when the endpoint fails, and when it will be disabled for that; None: it does not, or not any more."""

    failing_since_ms: int | None
    disable_at_ms: int | None


class DisableEndpoint(msgspec.Struct, frozen=True, array_like=True, tag="disable"):
    """Disable the endpoint."""

    reason: str


class AppendNotice(msgspec.Struct, frozen=True, array_like=True, tag="tell"):
    """Append a notice."""

    notice: Notice


class ShowCircuit(msgspec.Struct, frozen=True, array_like=True, tag="circuit"):
    """Show that the endpoint's circuit is open, and since when; None: it is closed."""

    circuit: OpenCircuit | None


HealthAction = ShowFailing | DisableEndpoint | AppendNotice | ShowCircuit


class EmittedActions(msgspec.Struct, frozen=True, array_like=True):
    """The actions that the record at an offset caused."""

    offset: int
    epoch: int
    actions: tuple[HealthAction, ...]


class HealthState(msgspec.Struct, frozen=True, array_like=True):
    """The value of the table `health`; times are those of records, in milliseconds."""

    applied: int = -1
    epoch: int = 0
    stage: HealthStage = "healthy"
    #: failed attempts in a row
    failures: int = 0
    #: the first and the last of them
    since_ms: int = 0
    last_ms: int = 0
    #: failures that may start the clock of a rule in days
    onset: tuple[FailedAttempt, ...] = ()
    #: since when that clock runs; 0: it does not
    clock_ms: int = 0
    #: the arguments of the last `ShowFailing`
    shown: tuple[int | None, int | None] = (None, None)
    quiet_until_ms: int = 0
    #: dead deliveries of the day that began then
    dead: int = 0
    dead_since_ms: int = 0
    emitted: tuple[EmittedActions, ...] = ()
    #: since when its circuit is open; 0: it is closed
    silent_since_ms: int = 0
    #: whether a notice about that was emitted
    silence_noticed: bool = False
    silence_quiet_until_ms: int = 0


def observe(
    state: HealthState | None,
    endpoint: Endpoint | None,
    rule: DisableRule,
    signal: HealthSignal,
    offset: int,
    at_ms: int,
) -> tuple[HealthState | None, EmittedActions | None]:
    """The state after a signal at `offset`, appended at `at_ms` (None: remove it), and the actions that it causes.

    `endpoint` is the current endpoint (None: it was removed), `rule` that of its profile.
    """
    if state is not None and offset <= state.applied:
        return state, next((each for each in state.emitted if each.offset == offset), None)
    if endpoint is None:
        return None, None
    if signal.epoch < endpoint.epoch or endpoint.status == "disabled":
        return state, None
    step = _Step(state or HealthState(), endpoint, effective(rule, endpoint), signal, offset, at_ms)
    after, actions = step.take()
    if signal.outcome == "ok" and not after.emitted and not actions and not after.dead and not after.silent_since_ms:
        return None, None
    if not actions:
        return msgspec.structs.replace(after, applied=offset), None
    emitted = EmittedActions(offset, signal.epoch, tuple(actions))
    remembered = (*after.emitted, emitted)[-_REMEMBERED:]
    return msgspec.structs.replace(after, applied=offset, emitted=remembered), emitted


class _Step:
    """One signal on its way through the machine."""

    def __init__(
        self, state: HealthState, endpoint: Endpoint, rule: DisableRule, signal: HealthSignal, offset: int, at_ms: int
    ) -> None:
        self._state = state
        self._endpoint = endpoint
        self._rule = rule
        self._signal = signal
        self._offset = offset
        self._at_ms = max(at_ms, state.last_ms)
        self._actions: list[HealthAction] = []

    def take(self) -> tuple[HealthState, list[HealthAction]]:
        """The state after the signal, and the actions."""
        if self._state.epoch != self._signal.epoch:
            self._move("renewal")
            self._state = HealthState(epoch=self._signal.epoch, emitted=self._state.emitted)
        if self._signal.outcome == "ok":
            self._succeed()
        elif self._signal.outcome == "failed" and self._state.stage != "disabled":
            self._fail()
        elif self._signal.outcome == "circuit":
            self._mark_circuit(self._signal.circuit)
        if self._signal.dead is not None:
            self._count_dead()
        return self._state, self._actions

    def _succeed(self) -> None:
        before = self._state
        was_shown = before.stage in ("shown", "warned", "urgent")
        self._move("success")
        self._set(
            failures=0,
            since_ms=0,
            last_ms=0,
            onset=(),
            clock_ms=0,
            quiet_until_ms=self._at_ms + _QUIET_MS if was_shown else before.quiet_until_ms,
        )

    def _fail(self) -> None:
        days_ms = (self._rule.failing_days or 0) * DAY_MS
        # An endpoint that was not tried for so long has not failed for so long.
        if days_ms and self._state.failures and self._at_ms - self._state.last_ms > 2 * days_ms:
            self._move("rest")
            self._set(since_ms=self._at_ms, onset=(), clock_ms=0)
        state = self._state
        onset, clock_ms = state.onset, state.clock_ms
        if self._rule.failing_days and not clock_ms:
            onset, clock_ms = begins(self._rule, onset, FailedAttempt(self._at_ms, self._signal.delivery_id[-8:]))
        self._set(
            failures=state.failures + 1,
            since_ms=state.since_ms or self._at_ms,
            last_ms=self._at_ms,
            onset=onset,
            clock_ms=clock_ms,
        )
        self._move(self._trigger())

    def _trigger(self) -> HealthTrigger:
        share = self._share()
        if self._signal.dead == "gone" and self._rule.gone_410:
            return "gone"
        if share >= 1:
            return "over"
        if self._at_ms < self._state.quiet_until_ms:
            return "failure"
        if share >= 0.5:
            return "three_quarters" if share >= 0.75 else "half"
        return "lasting" if self._at_ms - self._state.since_ms >= _LASTING_MS else "failure"

    def _share(self) -> float:
        """The share of the rule that is used up; 1: all of it."""
        state, rule = self._state, self._rule
        counted = state.failures / rule.consecutive_failures if rule.consecutive_failures else 0.0
        if not rule.failing_days or not state.clock_ms:
            return counted
        return max(counted, (self._at_ms - state.clock_ms) / (rule.failing_days * DAY_MS))

    def _move(self, trigger: HealthTrigger) -> None:
        transition = _TABLE.get((self._state.stage, trigger))
        if transition is None:
            return
        self._set(stage=transition.to)
        for effect in transition.effects:
            self._cause(effect, trigger)

    def _cause(self, effect: HealthEffect, trigger: HealthTrigger) -> None:
        match effect:
            case "show":
                self._show(self._state.since_ms, self._disable_at_ms())
            case "hide":
                self._show(None, None)
            case "warn":
                percent = 75 if trigger == "three_quarters" else 50
                self._notify("endpoint.failing", words.failing(self._facts(), percent), percent=percent)
            case "disable":
                reason = words.disabled(self._facts(), gone=trigger == "gone")
                self._actions.append(DisableEndpoint(clip(reason, _TEXT)))
                self._notify("endpoint.disabled", reason, gone=int(trigger == "gone"))
            case "announce_recovery":
                self._notify("endpoint.recovered", words.recovered(self._facts()))
            case _:
                assert_never(effect)

    def _mark_circuit(self, circuit: OpenCircuit | None) -> None:
        """Show the circuit. A notice is emitted when it has been open for a while, and then another when it closes."""
        state, at_ms = self._state, self._at_ms
        self._actions.append(ShowCircuit(circuit))
        if circuit is not None:
            since_ms = state.silent_since_ms or at_ms
            noticed = state.silence_noticed
            if not noticed and at_ms - since_ms >= _SILENT_MS and at_ms >= state.silence_quiet_until_ms:
                noticed = True
                since = iso(since_ms)
                self._notify("endpoint.circuit_opened", words.silent(self._endpoint.url, since), silent_since=since)
            self._set(silent_since_ms=since_ms, silence_noticed=noticed)
        else:
            if state.silence_noticed:
                since = iso(state.silent_since_ms)
                self._notify("endpoint.circuit_closed", words.answers(self._endpoint.url, since), silent_since=since)
                self._set(silence_quiet_until_ms=at_ms + _QUIET_MS)
            self._set(silent_since_ms=0, silence_noticed=False)

    def _show(self, since_ms: int | None, disable_at_ms: int | None) -> None:
        if self._state.shown != (since_ms, disable_at_ms):
            self._set(shown=(since_ms, disable_at_ms))
            self._actions.append(ShowFailing(since_ms, disable_at_ms))

    def _disable_at_ms(self) -> int | None:
        if not self._rule.failing_days or not self._state.clock_ms:
            return None
        return self._state.clock_ms + round(self._rule.failing_days * DAY_MS)

    def _count_dead(self) -> None:
        """Count a dead delivery."""
        state = self._state
        fresh = not state.dead or self._at_ms - state.dead_since_ms >= DAY_MS
        since_ms, dead = (self._at_ms, 1) if fresh else (state.dead_since_ms, state.dead + 1)
        self._set(dead=dead, dead_since_ms=since_ms)
        if str(dead).strip("0") == "1":
            reason = self._signal.dead or ""
            self._notify(
                "delivery.dead",
                words.dead(self._facts(), dead, reason),
                deliveries=dead,
                since=iso(since_ms),
                delivery_id=self._signal.delivery_id,
                event_type=self._signal.event_type,
                reason=reason,
            )

    def _facts(self) -> words.HealthFacts:
        state, at = self._state, self._disable_at_ms()
        return words.HealthFacts(
            url=self._endpoint.url,
            failures=state.failures,
            since=iso(state.since_ms) if state.since_ms else None,
            disable_at=iso(at) if at is not None else None,
            rule=self._rule,
            error=self._signal.error,
        )

    def _notify(self, kind: NoticeKind, summary: str, **more: str | int | float | None) -> None:
        facts = self._facts()
        data = {
            "url": facts.url,
            "description": self._endpoint.description,
            "failures": facts.failures,
            "failing_since": facts.since,
            "disable_at": facts.disable_at,
            "disable_after_failures": self._rule.consecutive_failures,
            "disable_after_days": self._rule.failing_days,
            "last_result": self._signal.result,
            "last_status": self._signal.status,
            "last_error": wording.plain(self._signal.error),
            **more,
        }
        data = {name: clip(value, _TEXT) if isinstance(value, str) else value for name, value in data.items()}
        self._actions.append(
            AppendNotice(
                Notice(
                    id=notice_id(self._endpoint.id, kind, self._offset, self._at_ms),
                    tenant=self._endpoint.tenant,
                    mode=self._endpoint.mode,
                    kind=kind,
                    at=iso(self._at_ms),
                    endpoint_id=self._endpoint.id,
                    summary=clip(summary, 2 * _TEXT),
                    data=data,
                )
            )
        )

    def _set(self, **fields: object) -> None:
        self._state = msgspec.structs.replace(self._state, **fields)
