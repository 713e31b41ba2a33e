"""Write the table of exit codes in docs/operations.md from their declaration."""

from __future__ import annotations

from app.core.exit_codes import MEANINGS
from tests.architecture.section import Section

SECTION = Section("docs/operations.md", "exit_codes_doc.py")


def generated() -> str:
    """The table."""
    rows = [f"| {code} | {each.sentence} | {'yes' if each.restart else 'no'} |" for code, each in MEANINGS.items()]
    return "\n".join(["| code | meaning | restart? |", "|---|---|---|", *rows])
