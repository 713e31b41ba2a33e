"""How requests to an endpoint prove where they come from: the setting `auth`.

Each type has one secret. In the registry, and wherever an endpoint is shown, `MASK` stands in its place; the value is
sealed in `Endpoint.sealed_auth`.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from app.core import limits
from app.core.model.custom_headers import HEADER_TEXT, RESERVED_HEADERS, RESERVED_PREFIXES, TOKEN

#: stands for a sealed value wherever it is shown; in a change it keeps the present value
MASK = "********"

_VISIBLE = re.compile(r"[\x21-\x7e]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SCOPES = re.compile(r"[\x21-\x7e]+( [\x21-\x7e]+)*")
_Secret = Annotated[str, Meta(min_length=1, max_length=limits.AUTH_SECRET)]


class NoAuth(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag_field="type", tag="none"):
    """Requests have no credentials; their signature proves the origin."""


class BasicAuth(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag_field="type", tag="basic"):
    """`Authorization: Basic …` (RFC 7617, UTF-8)."""

    username: Annotated[str, Meta(min_length=1, max_length=limits.NAME)]
    #: secret
    password: _Secret


class BearerAuth(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag_field="type", tag="bearer"):
    """`Authorization: Bearer …` (RFC 6750)."""

    #: secret
    token: _Secret


class HeaderAuth(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag_field="type", tag="header"):
    """A header of any name with a secret value."""

    #: the header's name, such as `X-Api-Key`
    name: Annotated[str, Meta(min_length=1, max_length=limits.HEADER_NAME)]
    #: secret
    value: _Secret


class OAuthClientCredentials(
    msgspec.Struct, frozen=True, kw_only=True, gc=False, tag_field="type", tag="oauth2_client_credentials"
):
    """`Authorization: Bearer …` with an access token of the receiver's own token server (RFC 6749, section 4.4)."""

    #: where tokens are fetched: https://…
    token_url: Annotated[str, Meta(min_length=1, max_length=limits.URL)]
    client_id: Annotated[str, Meta(min_length=1, max_length=limits.CLIENT_ID)]
    #: secret
    client_secret: _Secret
    #: scopes, separated by spaces; empty: the token server's default
    scope: Annotated[str, Meta(max_length=limits.SCOPE)] = ""
    #: what the token is for, where the token server asks for it
    audience: Annotated[str, Meta(max_length=limits.URL)] = ""
    #: how client id and secret are sent: in the header `Authorization`, or in the form's body
    client_auth: Literal["basic", "body"] = "basic"


class MutualTls(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag_field="type", tag="mtls"):
    """A TLS client certificate."""

    #: the certificate, and its intermediates after it, in PEM
    certificate: Annotated[str, Meta(min_length=1, max_length=limits.CERTIFICATES)]
    #: secret: its private key in PEM, without a password
    private_key: Annotated[str, Meta(min_length=1, max_length=limits.PRIVATE_KEY)]
    #: authorities in PEM, of which one must have issued the receiver's certificate; null: those of the service
    ca: Annotated[str, Meta(max_length=limits.CERTIFICATES)] | None = None


ReceiverAuth = NoAuth | BasicAuth | BearerAuth | HeaderAuth | OAuthClientCredentials | MutualTls

#: how long before a client certificate expires it is warned of, first and urgently, in milliseconds
EXPIRES_SOON_MS, EXPIRES_NOW_MS = 30 * 86_400_000, 7 * 86_400_000

#: type → the field that is its secret
SECRET_FIELDS: dict[type[msgspec.Struct], str] = {
    BasicAuth: "password",
    BearerAuth: "token",
    HeaderAuth: "value",
    OAuthClientCredentials: "client_secret",
    MutualTls: "private_key",
}


def secret_in(auth: ReceiverAuth | None) -> str | None:
    """Its secret, or the mask in its place; None: it has none."""
    field = None if auth is None else SECRET_FIELDS.get(type(auth))
    return None if field is None else getattr(auth, field)


def with_secret(auth: ReceiverAuth, secret: str) -> ReceiverAuth:
    """The same with this secret, or with the mask."""
    replaced: ReceiverAuth = msgspec.structs.replace(auth, **{SECRET_FIELDS[type(auth)]: secret})
    return replaced


def header_of(auth: ReceiverAuth | None) -> str | None:
    """The name of the header that it sets; None: none."""
    match auth:
        case BasicAuth() | BearerAuth() | OAuthClientCredentials():
            return "Authorization"
        case HeaderAuth(name=name):
            return name
        case _:
            return None


def credentials(auth: ReceiverAuth | None) -> tuple[tuple[str, str], ...]:
    """The headers of its requests; `auth` has its secret in plain text."""
    match auth:
        case BasicAuth(username=username, password=password):
            return (("Authorization", f"Basic {base64.b64encode(f'{username}:{password}'.encode()).decode()}"),)
        case BearerAuth(token=token):
            return (("Authorization", f"Bearer {token}"),)
        case HeaderAuth(name=name, value=value):
            return ((name, value),)
        case _:
            return ()


def auth_problems(value: Any) -> Iterator[str]:
    """Each problem of the setting that its type cannot express, after a JSON Pointer into it."""
    try:
        auth: ReceiverAuth | None = msgspec.convert(value, ReceiverAuth | None)
    except msgspec.ValidationError:
        return  # a problem of the shape, which is named where it is decoded
    match auth:
        case BasicAuth(username=username, password=password):
            if ":" in username or _CONTROL.search(username):
                yield "/username: may not hold a colon or control characters"
            if _CONTROL.search(password):
                yield "/password: may not hold control characters"
        case BearerAuth(token=token):
            if not _VISIBLE.fullmatch(token):
                yield "/token: may hold visible ASCII, and neither spaces nor line breaks"
        case HeaderAuth(name=name, value=text):
            if not TOKEN.fullmatch(name):
                yield "/name: is not a header name"
            elif name.lower() in RESERVED_HEADERS or name.lower().startswith(RESERVED_PREFIXES):
                yield f"/name: {name} is set by the service"
            if not HEADER_TEXT.fullmatch(text) or not text.strip():
                yield "/value: may hold visible ASCII and spaces, and no line breaks"
        case OAuthClientCredentials():
            yield from _oauth_problems(auth)
        case _:
            return


def _oauth_problems(auth: OAuthClientCredentials) -> Iterator[str]:
    if not auth.token_url.startswith(("https://", "http://")) or not _VISIBLE.fullmatch(auth.token_url):
        yield "/token_url: must begin with https://"
    for field in ("client_id", "client_secret", "audience"):
        if _CONTROL.search(getattr(auth, field)):
            yield f"/{field}: may not hold control characters"
    if auth.scope and not _SCOPES.fullmatch(auth.scope):
        yield "/scope: names of visible ASCII, separated by single spaces"


def keeps_secret(current: ReceiverAuth | None, auth: ReceiverAuth) -> bool:
    """Whether a masked secret in `auth` may stand for that of `current`.

    It has to be of the same type, and go to the same token server for the same client: a caller that may change an
    endpoint and does not know the secret must not be able to have it sent elsewhere.
    """
    match current, auth:
        case OAuthClientCredentials(), OAuthClientCredentials():
            return (current.token_url, current.client_id) == (auth.token_url, auth.client_id)
        case _:
            return type(current) is type(auth)


def auth_conflict(auth: ReceiverAuth | None, headers: Iterable[str], url: str) -> str | None:
    """Why `auth` does not go with the URL or the custom headers of these names, in a sentence; None: it does."""
    if isinstance(auth, MutualTls) and not url.startswith("https://"):
        return "presents a client certificate, which needs a URL that begins with https://"
    name = header_of(auth)
    if name is not None and any(each.lower() == name.lower() for each in headers):
        return f"sets the header {name}, which `headers` sets, too: remove one of them"
    return None
