"""Write the code of docs/signatures.md that verifies v1a signatures of the profile `standard`."""

from __future__ import annotations

from app.profiles.catalog import PROFILES
from app.profiles.receiver_code.snippets import v1a_snippets
from tests.architecture.section import Section

SECTION = Section("docs/signatures.md", "signatures_doc.py")
_FENCES = {"python-v1a": "python", "node-v1a": "js"}


def generated() -> str:
    """A heading, the file's name and its code for each language."""
    return "\n\n".join(
        f"### {each.title.partition(',')[0]}\n\n`{each.file_name}`:\n\n```{_FENCES[each.language]}\n{each.code}```"
        for each in v1a_snippets(PROFILES["standard"])
    )
