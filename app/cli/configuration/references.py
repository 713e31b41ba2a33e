"""Secrets by reference: `env:NAME` and `file:PATH` in the place of a value."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.core.model.receiver_auth import MASK, SECRET_FIELDS
from app.core.model.sensitive_headers import is_sensitive

#: bytes of a file with a secret
SECRET_BYTES = 65_536
_SCHEMES = ("env:", "file:")
#: fields that may hold references, at any depth
FIELDS = ("secret", "signing_key", "headers", "auth")
#: fields of keys that sign → what the API shows of them
KEYS = {"secret": "secrets", "signing_key": "signing_keys"}


class BadReference(Exception):
    """A secret cannot be read; the message never holds any of it."""


def is_reference(value: Any) -> bool:
    """Whether a value stands for a secret."""
    return isinstance(value, str) and value.startswith(_SCHEMES)


def has_reference(value: Any) -> bool:
    """Whether a value is a reference, or contains one."""
    if isinstance(value, Mapping):
        return any(map(has_reference, value.values()))
    if isinstance(value, list | tuple):
        return any(map(has_reference, value))
    return is_reference(value)


def resolved(value: Any, folder: Path) -> Any:
    """A value with its secrets in the place of their references. Paths are relative to `folder`.

    Raises `BadReference`.
    """
    if isinstance(value, Mapping):
        return {name: resolved(each, folder) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [resolved(each, folder) for each in value]
    return _secret(value, folder) if is_reference(value) else value


def secret_problems(entry: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(JSON Pointer, sentence) for each secret of an endpoint's entry that is written out, and for each reference where
    the value would not be sealed.
    """
    problems = []
    for field in KEYS:
        if isinstance(entry.get(field), str) and not is_reference(entry[field]):
            problems.append((f"/{field}", _BY_REFERENCE))
    auth = entry.get("auth")
    for name, value in auth.items() if isinstance(auth, Mapping) else ():
        if name in SECRET_FIELDS.values() and value != MASK and not is_reference(value):
            problems.append((f"/auth/{name}", _BY_REFERENCE))
    headers, marked = entry.get("headers"), entry.get("sensitive_headers") or ()
    marked = [each for each in marked if isinstance(each, str)] if isinstance(marked, list) else []
    for name, value in headers.items() if isinstance(headers, Mapping) else ():
        pointer = "/headers/" + name.replace("~", "~0").replace("/", "~1")
        if is_sensitive(name, marked) and value != MASK and not is_reference(value):
            problems.append((pointer, _BY_REFERENCE))
        elif not is_sensitive(name, marked) and is_reference(value):
            problems.append((pointer, _NOT_SEALED))
    return problems


_BY_REFERENCE = "is a secret: write env:NAME or file:PATH in its place"
_NOT_SEALED = (
    "values are sealed only under names such as authorization, *-key, *-token and *-secret, or in sensitive_headers"
)


def _secret(reference: str, folder: Path) -> str:
    scheme, _, name = reference.partition(":")
    if scheme == "env":
        value = os.environ.get(name, "")
        if not value:
            raise BadReference(f"{reference[:200]}: the environment has no such variable, or it is empty")
        return value
    try:
        with (folder / Path(name).expanduser()).open("rb") as file:
            content = file.read(SECRET_BYTES + 1)
        text = content.decode().strip()
    except OSError as error:
        raise BadReference(f"{reference[:200]}: {error.strerror}") from error
    except (UnicodeDecodeError, ValueError) as error:
        raise BadReference(f"{reference[:200]}: does not hold text") from error
    if len(content) > SECRET_BYTES:
        raise BadReference(f"{reference[:200]}: is larger than {SECRET_BYTES // 1024} KiB")
    if not text:
        raise BadReference(f"{reference[:200]}: is empty")
    return text
