"""Plans and outcomes for people and for programs; secrets never occur in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from app.cli.configuration.carry_out import ChangeOutcome, Run
from app.cli.configuration.plan import Action, ConfigChange, Plan
from app.cli.terminal.counts import count_of

#: characters of a value
_SHOWN = 200
_SIGNS: dict[Action, str] = {"create": "+", "change": "~", "delete": "-"}
#: characters with which a value could move the cursor or forge another line
_ONE_LINE = dict.fromkeys((*range(32), 127, *range(128, 160), 0x2028, 0x2029), "\N{REPLACEMENT CHARACTER}")


def plan_lines(plan: Plan) -> Iterator[str]:
    """One line for each change, with a line for each of its fields, and a line with the counts."""
    for change in plan.changes:
        yield f"{_SIGNS[change.action]} {name_of(change)}"
        for each in change.differences:
            before = "" if change.action == "create" else f"{_shown(each.before)} → "
            after = "" if change.action == "delete" else _shown(each.after)
            yield clean(f"    {each.field}: {before}{after}".removesuffix(" → "))
    counts = [sum(change.action == action for change in plan.changes) for action in _SIGNS]
    if plan.changes:
        yield f"{counts[0]} to create, {counts[1]} to change, {counts[2]} to delete; {plan.unchanged} unchanged."
    else:
        yield f"Nothing to change: {count_of(plan.unchanged, 'entry')} as described."


def failure_lines(run: Run) -> Iterator[str]:
    """One line for each change that failed, and the counts."""
    for outcome in run.outcomes:
        if outcome.state == "failed":
            place = f" ({outcome.change.entry.place})" if outcome.change.entry is not None else ""
            yield clean(f"failed: {name_of(outcome.change)}{place}: {outcome.reason}")
    open_, failed = run.count("not tried"), run.count("failed")
    if open_ or failed:
        yield (
            f"{run.count('done')} of {len(run.outcomes)} changes were made, {failed} failed, {open_} were not tried. "
            "The same command continues where this one ended."
        )


def document(plan: Plan, outcomes: Sequence[ChangeOutcome], *, dry_run: bool) -> dict[str, Any]:
    """The plan and its outcomes as one JSON object."""
    states = {id(each.change): each for each in outcomes}
    return {
        "dry_run": dry_run,
        "unchanged": plan.unchanged,
        "changes": [_change(each, states.get(id(each))) for each in plan.changes],
        "problems": plan.problems,
    }


def name_of(change: ConfigChange) -> str:
    """`endpoint acme/live shop`."""
    return clean(" ".join(part for part in (change.kind, str(change.scope), change.name) if part))


def clean(text: str) -> str:
    """One line of a terminal."""
    return text.translate(_ONE_LINE)


def _change(change: ConfigChange, outcome: ChangeOutcome | None) -> dict[str, Any]:
    return {
        "action": change.action,
        "kind": change.kind,
        "tenant": change.scope.tenant or None,
        "mode": change.scope.mode or None,
        "name": change.name,
        "fields": [{"field": each.field, "before": each.before, "after": each.after} for each in change.differences],
        "state": outcome.state if outcome is not None else "planned",
        "reason": (outcome.reason or None) if outcome is not None else None,
    }


def _shown(value: Any) -> str:
    if value is None:
        return "(none)"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text)} characters)"
