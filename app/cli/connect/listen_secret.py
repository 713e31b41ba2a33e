"""The signing secrets of `hookstream listen`: the same on every start on one machine, for one tenant and mode."""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode
from pathlib import Path
from secrets import token_bytes

from app.adapters.secret_file import read_or_create
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
        key = b64decode(read_or_create(path, lambda: b64encode(token_bytes(_BYTES)).decode()), validate=True)
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}; or give --secret-file FILE"]) from error
    except ValueError:
        key = b""
    if len(key) != _BYTES:
        raise ConfigError([f"{path} does not hold a key: remove it, and the next start creates another one"])
    return key
