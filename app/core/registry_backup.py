"""The file of `hookstream backup`: the registry's records, one a line, between a head and a checksum.

Values are stored as they are in Kafka: signing secrets stay sealed, and API keys are hashes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from app.core.directory import Directory
from app.core.errors import ConfigError
from app.core.records.registry import apply

_FORMAT = 1
#: bytes of a line at most; Kafka refuses larger records
_LONGEST_LINE = 16 * 1024 * 1024


class BackupHead(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The first line."""

    hookstream_backup: int
    topic: str
    created_at: str
    records: int


class _Line(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    key: str
    value: str


class _End(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    sha256: str


def encode(records: Mapping[bytes, bytes], topic: str, created_at: str) -> Iterator[bytes]:
    """The lines of the file."""
    digest = hashlib.sha256()
    head = BackupHead(hookstream_backup=_FORMAT, topic=topic, created_at=created_at, records=len(records))
    lines = (_Line(key=key.decode(), value=value.decode()) for key, value in records.items())
    for part in (head, *lines):
        line = msgspec.json.encode(part) + b"\n"
        digest.update(line)
        yield line
    yield msgspec.json.encode(_End(sha256=digest.hexdigest())) + b"\n"


def decode(lines: Iterable[bytes]) -> dict[bytes, bytes]:
    """The records of a file, by key. Raises `ConfigError` with the line at which the file cannot be used."""
    digest = hashlib.sha256()
    records: dict[bytes, bytes] = {}
    head: BackupHead | None = None
    end: _End | None = None
    directory = Directory()
    for number, line in enumerate(lines, 1):
        try:
            if end is not None:
                raise ValueError("it follows the end")
            if len(line) > _LONGEST_LINE:
                raise ValueError("it is too long")
            if head is None:
                head = _head(line)
            elif len(records) == head.records:
                end = msgspec.json.decode(line, type=_End)
                _check(end.sha256 == digest.hexdigest(), "the checksum differs: the file was changed or is damaged")
            else:
                entry = msgspec.json.decode(line, type=_Line)
                _check(entry.key.encode() not in records, f"{entry.key} occurs twice")
                apply(directory, entry.key, entry.value.encode())
                records[entry.key.encode()] = entry.value.encode()
        except (ValueError, TypeError, RecursionError) as error:
            raise ConfigError([f"line {number} of the backup cannot be used: {error}"]) from error
        digest.update(line)
    if end is None:
        raise ConfigError(["the backup is incomplete: it has no end"])
    return records


def _head(line: bytes) -> BackupHead:
    head = msgspec.json.decode(line, type=BackupHead)
    _check(head.hookstream_backup == _FORMAT, f"format {head.hookstream_backup} is not {_FORMAT}, that of this version")
    return head


def _check(holds: bool, problem: str) -> None:
    if not holds:
        raise ValueError(problem)
