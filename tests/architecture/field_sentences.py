"""The `#:` sentence of every field of a struct, read from its source: documents and schemas say what the code says."""

from __future__ import annotations

import inspect
import re

_FIELD = re.compile(r"    (\w+): ")


def sentences(struct: type) -> dict[str, str]:
    """Field name → its `#:` lines joined; fields without one are left out."""
    found: dict[str, str] = {}
    said: list[str] = []
    for line in inspect.getsource(struct).splitlines():
        text = line.strip()
        if text.startswith("#:"):
            said.append(text.removeprefix("#:").strip())
            continue
        field = _FIELD.match(line)
        if field is not None and said:
            found[field[1]] = " ".join(said)
        said = []
    return found
