"""The setting `auth` on its way into the registry and out of it: its secret is sealed apart from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from app.core.errors import ConfigError
from app.core.model.endpoint import Endpoint, SealedSecret
from app.core.model.receiver_auth import (
    MASK,
    MutualTls,
    NoAuth,
    ReceiverAuth,
    keeps_secret,
    secret_in,
    with_secret,
)


class StoredAuth(NamedTuple):
    """`auth` as the registry stores it, by the names of the endpoint's fields."""

    #: with the mask in place of the secret; None: no authentication
    auth: ReceiverAuth | None = None
    sealed_auth: SealedSecret | None = None
    #: when its certificate expires, in milliseconds since the epoch; None: nothing expires
    auth_expires_at_ms: int | None = None


class ReadCertificate(NamedTuple):
    """The certificates of `auth` in canonical form."""

    certificate: str
    ca: str | None
    expires_at_ms: int


class BadAuth(Exception):
    """The setting cannot be stored; `pointer` leads into it."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(f"{pointer}: {detail}" if pointer else detail)
        self.pointer = pointer
        self.detail = detail


class AuthVault(NamedTuple):
    """What storing the setting of one endpoint needs."""

    seal: Callable[[str], SealedSecret]
    #: raises `ConfigError`
    open: Callable[[SealedSecret], str]
    #: raises `BadAuth`
    read: Callable[[MutualTls], ReadCertificate]


def stored_auth(auth: ReceiverAuth | None, current: Endpoint | None, vault: AuthVault) -> StoredAuth:
    """What to store of the setting of a request; `current` is the endpoint before. Raises `BadAuth`."""
    secret = secret_in(auth)
    if auth is None or isinstance(auth, NoAuth) or secret is None:
        return StoredAuth()
    present: SealedSecret | None = None
    if secret == MASK:
        if current is None or current.sealed_auth is None or not keeps_secret(current.auth, auth):
            what = "its secret is masked, but there is none to keep for this type, token server and client"
            raise BadAuth("", f"{what}: send the secret")
        present = current.sealed_auth
        if _unchanged(current.auth, auth):  # it may have expired meanwhile; other fields can be changed all the same
            return StoredAuth(current.auth, present, current.auth_expires_at_ms)
    expires_at_ms = None
    if isinstance(auth, MutualTls):
        certificate = vault.read(msgspec.structs.replace(auth, private_key=_opened(present, vault) or secret))
        auth = msgspec.structs.replace(auth, certificate=certificate.certificate, ca=certificate.ca)
        expires_at_ms = certificate.expires_at_ms
    return StoredAuth(with_secret(auth, MASK), present or vault.seal(secret), expires_at_ms)


def _unchanged(current: ReceiverAuth | None, auth: ReceiverAuth) -> bool:
    """Whether both are the same, whatever blank lines a form has added to certificates."""
    if not isinstance(current, MutualTls) or not isinstance(auth, MutualTls):
        return current == auth
    return (
        current.certificate.split() == auth.certificate.split()
        and (current.ca or "").split() == (auth.ca or "").split()
    )


def _opened(present: SealedSecret | None, vault: AuthVault) -> str | None:
    if present is None:
        return None
    try:
        return vault.open(present)
    except ConfigError as error:
        raise BadAuth("", "its present secret cannot be opened: send the secret") from error


def opened_auth(endpoint: Endpoint, open_secret: Callable[[SealedSecret, str], str]) -> ReceiverAuth | None:
    """The setting with its secret in plain text. Raises `ConfigError` when no key of the ring opens it."""
    if endpoint.auth is None or endpoint.sealed_auth is None:
        return endpoint.auth
    return with_secret(endpoint.auth, open_secret(endpoint.sealed_auth, endpoint.secret_owner))
