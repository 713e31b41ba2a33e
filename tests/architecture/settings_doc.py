"""Write the table of settings in docs/operations.md from app/settings.py: names, defaults and meanings."""

from __future__ import annotations

from msgspec import structs

from app.settings import PREFIX, Settings
from tests.architecture.field_sentences import sentences
from tests.architecture.section import Section

SECTION = Section("docs/operations.md", "settings_doc.py")


def generated() -> str:
    """The table, in the order of the code."""
    rows = [f"| `{name}` | {default} | {meaning} |" for name, default, meaning in settings()]
    return "\n".join(["| setting | default | meaning |", "|---|---|---|", *rows])


def settings() -> list[tuple[str, str, str]]:
    """(name, default, meaning) of every setting."""
    meanings = sentences(Settings)
    return [
        (PREFIX + field.name.upper(), _default(field.default), meanings[field.name])
        for field in structs.fields(Settings)
    ]


def _default(value: object) -> str:
    match value:
        case None | ():
            return "–"
        case bool():
            return f"`{str(value).lower()}`"
        case "":
            return "empty"
        case _:
            return f"`{value}`"
