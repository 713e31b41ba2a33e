"""Generate the machine in docs/health.md from roles/health/transitions.py; `python -m
tests.architecture.health_doc` writes."""

from __future__ import annotations

from pathlib import Path

from app.profiles.catalog import PROFILES
from app.roles.health.transitions import TRANSITIONS

FILE = Path(__file__).parents[2] / "docs" / "health.md"
_BEGIN, _END = "<!-- begin: written by tests/architecture/health_doc.py -->", "<!-- end -->"


def generated() -> str:
    """The drawing, the table of transitions and the table of the profiles' rules."""
    return "\n".join([*_drawing(), "", *_transitions(), "", *_rules()])


def written() -> str:
    """What the document has between the marks."""
    return FILE.read_text(encoding="utf-8").partition(_BEGIN)[2].partition(_END)[0].strip("\n")


def _drawing() -> list[str]:
    arrows: dict[tuple[str, str], list[str]] = {}
    for each in TRANSITIONS:
        for stage in each.stages:
            if stage != each.to:
                arrows.setdefault((stage, each.to), []).append(_word(each.sight))
    lines = [f"    {start} --> {end}: {', '.join(sights)}" for (start, end), sights in arrows.items()]
    return ["```mermaid", "stateDiagram-v2", "    [*] --> healthy", *lines, "```"]


def _transitions() -> list[str]:
    rows = [
        f"| {', '.join(each.stages)} | {_word(each.sight)} | {each.to} | {', '.join(map(_word, each.deeds)) or '–'} |"
        for each in TRANSITIONS
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


def main() -> None:
    """Write it."""
    before, _, rest = FILE.read_text(encoding="utf-8").partition(_BEGIN)
    after = rest.partition(_END)[2]
    FILE.write_text(f"{before}{_BEGIN}\n\n{generated()}\n\n{_END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
