"""Write the table in docs/endpoints.md from the declaration of an endpoint's settings."""

from __future__ import annotations

import msgspec

from app.core.model.endpoint_settings import FIELDS, meta_of, surface_of
from tests.architecture.section import Section

SECTION = Section("docs/endpoints.md", "endpoint_fields_doc.py")


def generated() -> str:
    """The table, in the order of the code."""
    rows = [
        f"| `{field.name}` | {_default(field)} | `{surface_of(field).option}` | {meta_of(field).description} |"
        for field in FIELDS
    ]
    return "\n".join(["| setting | default | option | meaning |", "|---|---|---|---|", *rows])


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    value = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    return f"`{msgspec.json.encode(value).decode()}`"
