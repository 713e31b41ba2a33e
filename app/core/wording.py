"""Foreign text in sentences of ours."""

from __future__ import annotations

#: characters that are quoted of foreign text
_QUOTED = 300


def plain(text: str) -> str:
    """Foreign text on one line, without control characters, clipped to 300 characters."""
    line = "".join(character if character.isprintable() else " " for character in text[: 2 * _QUOTED])
    return " ".join(line.split())[:_QUOTED]
