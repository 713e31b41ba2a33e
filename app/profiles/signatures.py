"""HMAC-SHA256 over a request body: how keys come out of secrets, and how signatures are written into headers."""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence

from app.core.errors import ConfigError, Defect
from app.profiles.contract import HeaderPairs

_SHOWN_PREFIX = "whsec_"


def text_key(secret: str) -> bytes:
    """The characters of the secret in UTF-8, without decoding. Raises `ConfigError` for an empty one."""
    try:
        key = secret.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(["secret: holds characters that UTF-8 cannot encode"]) from error
    if not key:
        raise ConfigError(["secret: is empty"])
    return key


def base64_key(secret: str) -> bytes:
    """The decoded base64 after `whsec_` (which may be missing); raises `ConfigError` when it is not strict base64.

    Strict, because receivers' libraries differ in what they make of sloppy base64.
    """
    try:
        key = b64decode(secret.removeprefix(_SHOWN_PREFIX), validate=True)
    except ValueError as error:
        raise ConfigError(["secret: the part after whsec_ is not base64"]) from error
    if not key:
        raise ConfigError(["secret: is empty"])
    return key


def hex_signature(header: str, prefix: str = "", *, optional: bool = False) -> Callable[..., HeaderPairs]:
    """Headers with one hex signature of the raw body, made with the newest key (there is room for one only)."""

    def headers(body: bytes, keys: Sequence[bytes], event_id: str, at_s: int) -> HeaderPairs:
        if not keys:
            return () if optional else _unsigned(header)
        return ((header, prefix + hmac.digest(keys[0], body, "sha256").hex()),)

    return headers


def listed_signatures(family: str) -> Callable[..., HeaderPairs]:
    """Headers `<family>-id`, `-timestamp` and `-signature` of Standard Webhooks v1 (`webhook`) and Svix (`svix`).

    Signed is `id.timestamp.body`; every key gives one signature, separated by spaces, so that a receiver may hold
    the old or the new secret during a rotation.
    """
    id_name, timestamp_name, signature_name = f"{family}-id", f"{family}-timestamp", f"{family}-signature"

    def headers(body: bytes, keys: Sequence[bytes], event_id: str, at_s: int) -> HeaderPairs:
        if not keys:
            return _unsigned(signature_name)
        signed = b"%b.%d.%b" % (event_id.encode(), at_s, body)
        signatures = ["v1," + b64encode(hmac.digest(key, signed, "sha256")).decode() for key in keys]
        return ((id_name, event_id), (timestamp_name, str(at_s)), (signature_name, " ".join(signatures)))

    return headers


def _unsigned(header: str) -> HeaderPairs:
    raise Defect(f"{header} needs a key: requests of this profile never go out unsigned")
