"""Exports as JSON: one document, several after each other, or one a line; bounded, and of any shape."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from app.cli.terminal.inputs import bytes_of
from app.core.errors import ConfigError

#: bytes of one export
SOURCE_BYTES = 128 * 1024 * 1024


def read_sources(names: list[str]) -> list[Any]:
    """The documents of files; `-` is standard input. Raises `ConfigError`."""
    return [document for name in names for document in _documents(name, _content(name))]


def _content(name: str) -> str:
    try:
        if name == "-":
            content = bytes_of(name)
        else:
            with Path(name).open("rb") as file:
                content = file.read(SOURCE_BYTES + 1)
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise ConfigError([f"{name}: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"{name}: is not UTF-8 text"]) from error
    if len(content) > SOURCE_BYTES:
        raise ConfigError([f"{name}: is larger than {SOURCE_BYTES // 1024 // 1024} MiB"])
    return text


def _documents(name: str, text: str) -> Iterator[Any]:
    decoder, at, number = json.JSONDecoder(), 0, 0
    while True:
        while at < len(text) and text[at].isspace():
            at += 1
        if at == len(text):
            break
        try:
            document, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            line = text.count("\n", 0, at) + 1
            raise ConfigError([f"{name}: the document that begins in line {line} is not JSON: {error}"]) from error
        number += 1
        yield document
    if number == 0:
        raise ConfigError([f"{name}: is empty"])


# Values of any shape


def mapping(value: Any) -> Mapping[str, Any]:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def entries(value: Any) -> list[Any]:
    """The entries of a list, bare or inside of an answer; a list of answers has the entries of all."""
    if not isinstance(value, list):
        return _page(value) or []
    pages = [(each, _page(each)) for each in value]
    return [entry for each, page in pages for entry in ([each] if page is None else page)]


def text_of(value: Any) -> str:
    """The value if it is text, else nothing."""
    return value if isinstance(value, str) else ""


def _page(value: Any) -> list[Any] | None:
    """The list of an answer with `data`, `content` or `models`, or with `data` that has such; None: no answer."""
    inner = value
    for _ in range(2):
        fields = mapping(inner)
        inner = next((fields[name] for name in ("data", "content", "models") if name in fields), None)
        if isinstance(inner, list):
            return inner
    return None
