"""The signing secrets of `hookstream listen`: the same on every start on one machine, for one tenant and mode."""

from __future__ import annotations

import hmac
import os
import secrets
from base64 import b64decode, b64encode
from pathlib import Path

from app.core.errors import ConfigError

_FILE = "listen.key"
_BYTES = 32


def listen_secret(folder: Path, tenant: str, mode: str) -> str:
    """The secret of a tenant and mode, derived from this machine's key, which is created if it is missing.

    Every profile takes it. Raises `ConfigError` when the key cannot be read or created.
    """
    digest = hmac.digest(_machine_key(folder / _FILE), f"{tenant}/{mode}".encode(), "sha256")
    return "whsec_" + b64encode(digest).decode()


def _machine_key(path: Path) -> bytes:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return _read(path)
        with os.fdopen(descriptor, "wb") as file:
            key = secrets.token_bytes(_BYTES)
            file.write(b64encode(key) + b"\n")
            return key
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}; or give --secret-file FILE"]) from error


def _read(path: Path) -> bytes:
    try:
        key = b64decode(path.read_bytes().strip(), validate=True)
    except ValueError:
        key = b""
    if len(key) != _BYTES:
        raise ConfigError([f"{path} does not hold a key: remove it, and the next start creates another one"])
    return key
