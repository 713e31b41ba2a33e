"""Write the code of docs/receivers.md that verifies requests of the profile `standard`, and the files for its tests."""

from __future__ import annotations

from app.profiles.catalog import PROFILES
from app.profiles.receiver_code.snippets import snippets
from tests.architecture.section import ROOT, Section

SECTION = Section("docs/receivers.md", "receivers_doc.py")
SNIPPETS = snippets(PROFILES["standard"])
#: beside the inboxes of the document, which import them
FILES = {
    ROOT / "tests" / "receivers" / "snippets" / each.file_name: each.code
    for each in SNIPPETS
    if each.language in ("python", "node")
}
_FENCES = {"node": "js"}


def generated() -> str:
    """A heading, the file's name and its code for each language."""
    return "\n\n".join(
        f"### {each.title}\n\n`{each.file_name}`:\n\n```{_FENCES.get(each.language, each.language)}\n{each.code}```"
        for each in SNIPPETS
    )


def write_files() -> None:
    """Write the files for Python and Node."""
    for path, code in FILES.items():
        path.write_text(code, encoding="utf-8")
