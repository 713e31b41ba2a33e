"""Write the table of outcomes in docs/receivers.md from `app.core.outcomes`."""

from __future__ import annotations

from app.core.outcomes import OUTCOMES, Outcome
from tests.architecture.section import Section

SECTION = Section("docs/receivers.md", "outcomes_doc.py")


def generated() -> str:
    """A row for each outcome that somebody can do something about."""
    rows = [_row(word, outcome) for word, outcome in OUTCOMES.items() if outcome.do]
    return "\n".join(["| outcome | what happened | what to do | then |", "|---|---|---|---|", *rows])


def _row(word: str, outcome: Outcome) -> str:
    return f"| `{word}` | {outcome.what} | {outcome.do} | {outcome.rule} |"
