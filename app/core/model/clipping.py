"""Cut texts of customers and receivers so that they fit into records.

A budget is in bytes of the text's JSON form in UTF-8, without its quotes. That form is never shorter than the text in
UTF-8, so a text that fits as JSON fits as a record header, too.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

_encode = msgspec.json.Encoder().encode
#: bytes that one character takes at most: `\\u001f`
_WIDEST = 6


def json_size(text: str) -> int:
    """Bytes of the JSON form without its quotes. The text must not contain lone surrogates."""
    return len(_encode(text)) - 2


def clip(text: str, budget: int) -> str:
    """The longest beginning of `text` of at most `budget` bytes; a lone surrogate becomes U+FFFD."""
    text = _whole(text[: budget + 1])
    if len(text) * _WIDEST <= budget or json_size(text) <= budget:
        return text
    low, high = budget // _WIDEST, min(len(text), budget)
    while low < high:
        middle = (low + high + 1) // 2
        if json_size(text[:middle]) <= budget:
            low = middle
        else:
            high = middle - 1
    return text[:low]


def clip_headers(
    headers: Iterable[tuple[str, str]], *, entries: int, name: int, value: int, total: int
) -> tuple[dict[str, str], bool]:
    """HTTP headers by name within budgets (each entry costs its JSON form and six bytes), and whether any was cut."""
    clipped: dict[str, str] = {}
    left, cut = total, False
    for key, text in headers:
        short_key = clip(key, name)
        short = clip(text, max(0, min(value, left - json_size(short_key) - 6)))
        cut = cut or short_key != key or short != text
        left -= json_size(short_key) + json_size(short) + 6
        if left < 0 or len(clipped) >= entries:
            return clipped, True
        clipped[short_key] = short
    return clipped, cut


def _whole(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
