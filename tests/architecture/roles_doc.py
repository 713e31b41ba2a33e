"""Write the table of roles in docs/operations.md from app/runtime/roles.py: how each scales, and what it stores."""

from __future__ import annotations

from app.runtime.roles import ROLES
from tests.architecture.section import Section

SECTION = Section("docs/operations.md", "roles_doc.py")


def generated() -> str:
    """The table, in the order of the code."""
    rows = [f"| `{spec.name}` | {spec.scaling} | {spec.state} |" for spec in ROLES.values()]
    return "\n".join(["| role | scales by | state on disk |", "|---|---|---|", *rows])
