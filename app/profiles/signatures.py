"""HMAC-SHA256 over a request body: how keys come out of secrets, and how signatures are written into headers."""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode
from collections.abc import Sequence
from functools import lru_cache

import msgspec

from app.core.errors import ConfigError, Defect
from app.profiles.contract import HeaderPairs, SignMessage

_SHOWN_PREFIX = "whsec_"
#: keys whose HMAC is kept ready to be copied; setting one up costs as much as signing a kilobyte
_READY_KEYS = 16_384


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


@lru_cache(_READY_KEYS)
def _hmac(key: bytes) -> hmac.HMAC:
    return hmac.new(key, digestmod="sha256")


def _signed(key: bytes, message: bytes) -> hmac.HMAC:
    signature = _hmac(key).copy()
    signature.update(message)
    return signature


class HexSignature(msgspec.Struct, frozen=True):
    """`Profile.headers` with one hex HMAC of the raw body, made with the newest key (there is room for one only)."""

    header: str
    #: before the hex digits
    prefix: str = ""
    #: without keys there is no header
    optional: bool = False

    def __call__(self, body: bytes, keys: Sequence[bytes], event_id: str, at_s: int) -> HeaderPairs:
        """See `Profile.headers`."""
        if not keys:
            return () if self.optional else _unsigned(self.header)
        return ((self.header, self.prefix + _signed(keys[0], body).hexdigest()),)


class ListedSignatures(msgspec.Struct, frozen=True):
    """`Profile.headers` of Standard Webhooks v1 (family `webhook`) and Svix (`svix`).

    The headers are `<family>-id`, `-timestamp` and `-signature`. Signed is `id.timestamp.body`; every key gives one
    signature, separated by spaces, so that a receiver may hold the old or the new secret during a rotation.
    """

    family: str

    @property
    def id_header(self) -> str:
        """The name of the header with the event's id."""
        return f"{self.family}-id"

    @property
    def timestamp_header(self) -> str:
        """The name of the header with the time of the attempt, in unix seconds."""
        return f"{self.family}-timestamp"

    @property
    def signature_header(self) -> str:
        """The name of the header with the signatures."""
        return f"{self.family}-signature"

    def __call__(self, body: bytes, keys: Sequence[bytes], event_id: str, at_s: int) -> HeaderPairs:
        """See `Profile.headers`."""
        family = self.family
        if not keys:
            return _unsigned(self.signature_header)
        signed = b"%b.%d.%b" % (event_id.encode(), at_s, body)
        signatures = ["v1," + b64encode(_signed(key, signed).digest()).decode() for key in keys]
        return (
            (f"{family}-id", event_id),
            (f"{family}-timestamp", str(at_s)),
            (f"{family}-signature", " ".join(signatures)),
        )


class Ed25519Signatures(msgspec.Struct, frozen=True):
    """`Profile.headers` of Standard Webhooks v1a, alone or after v1, for the keys of one endpoint.

    Signed is the same as with v1; a receiver takes the signature whose scheme and key it knows.
    """

    listed: ListedSignatures
    #: newest key first
    signers: tuple[SignMessage, ...]

    def __call__(self, body: bytes, keys: Sequence[bytes], event_id: str, at_s: int) -> HeaderPairs:
        """See `Profile.headers`; without `keys` there is v1a alone."""
        if not self.signers:
            return _unsigned(self.listed.signature_header)
        signed = b"%b.%d.%b" % (event_id.encode(), at_s, body)
        signatures = ["v1," + b64encode(_signed(key, signed).digest()).decode() for key in keys]
        signatures += ["v1a," + b64encode(sign(signed)).decode() for sign in self.signers]
        return (
            (self.listed.id_header, event_id),
            (self.listed.timestamp_header, str(at_s)),
            (self.listed.signature_header, " ".join(signatures)),
        )


SignatureScheme = HexSignature | ListedSignatures


def _unsigned(header: str) -> HeaderPairs:
    raise Defect(f"{header} needs a key: requests of this profile never go out unsigned")
