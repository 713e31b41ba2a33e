"""Write the state machine in docs/health.md from the table of transitions and the profiles' rules."""

from __future__ import annotations

from app.profiles.catalog import PROFILES
from app.roles.health.transitions import TRANSITIONS, HealthTransition
from tests.architecture.section import Section

SECTION = Section("docs/health.md", "health_doc.py")


def generated() -> str:
    """The drawing, the table of transitions and the table of the profiles' rules."""
    return "\n".join([*_drawing(), "", *_transitions(), "", *_rules()])


def _drawing() -> list[str]:
    arrows: dict[tuple[str, str], list[str]] = {}
    for each in TRANSITIONS:
        for stage in each.stages:
            if stage != each.to:
                arrows.setdefault((stage, each.to), []).append(_word(each.trigger))
    lines = [f"    {start} --> {end}: {', '.join(sights)}" for (start, end), sights in arrows.items()]
    return ["```mermaid", "stateDiagram-v2", "    [*] --> healthy", *lines, "```"]


def _effects(transition: HealthTransition) -> str:
    return ", ".join(map(_word, transition.effects)) or "–"


def _transitions() -> list[str]:
    rows = [
        f"| {', '.join(each.stages)} | {_word(each.trigger)} | {each.to} | {_effects(each)} |" for each in TRANSITIONS
    ]
    return ["| stage | trigger | next stage | action |", "|---|---|---|---|", *rows]


def _rules() -> list[str]:
    rows = []
    for name, profile in PROFILES.items():
        rule = profile.disable
        onset = "–"
        if rule.failing_days:
            onset = "the first failure"
        if rule.onset_window_h is not None:
            onset = (
                f"{rule.onset_failures} deliveries failed within {rule.onset_window_h:g} h, with at least "
                f"{rule.onset_spread_h:g} h between the first and the last failure"
            )
        rows.append(
            f"| `{name}` | {rule.consecutive_failures or '–'} | {rule.failing_days or '–'} | {onset} | "
            f"{'at once' if rule.gone_410 else 'a failure like any other'} |"
        )
    head = "| profile | failed attempts in a row | days of failures only | the clock starts with | 410 Gone |"
    return [head, "|---|---|---|---|---|", *rows]


def _word(name: str) -> str:
    return name.replace("_", " ")
