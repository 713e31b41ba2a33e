"""E-mail: the server of HOOKSTREAM_SMTP_URL, tokens of unsubscribe links, addresses, and the content of digests."""

from __future__ import annotations

import base64
import re
from email.utils import parseaddr
from typing import Literal
from urllib.parse import unquote, urlsplit

import msgspec

from app.core.errors import Defect
from app.core.model.endpoint import SealedSecret
from app.core.secret_text import SecretText

#: from_the_start: smtps; demanded: fail unless the server offers STARTTLS; wanted: use it if it is offered
SmtpEncryption = Literal["from_the_start", "demanded", "wanted"]
_PORTS = {"smtp": 25, "smtps": 465}
_HERE = ("localhost", "127.0.0.1", "::1")


class SmtpServer(msgspec.Struct, frozen=True, kw_only=True):
    """The mail server and its credentials."""

    host: str
    port: int
    encryption: SmtpEncryption
    user: str | None = None
    password: str | None = None

    def __repr__(self) -> str:
        return f"SmtpServer({self.host}:{self.port})"


def read_smtp_url(url: str) -> SmtpServer:
    """The server of `smtp://user:password@host:port`, or of `smtps://…` for TLS from the first byte.

    With a password, TLS is demanded unless the server is on this machine. Raises `ValueError` for an invalid URL; the
    message does not quote the password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("the port is not a number, or the host cannot be read") from None
    if parts.scheme not in _PORTS or not parts.hostname or parts.path not in ("", "/") or parts.query:
        raise ValueError("smtp://user:password@host:port, or smtps://…")
    if (parts.username is None) != (parts.password is None):
        raise ValueError("a user and a password go together")
    wanted: SmtpEncryption = "demanded" if parts.username and parts.hostname not in _HERE else "wanted"
    return SmtpServer(
        host=parts.hostname,
        port=port or _PORTS[parts.scheme],
        encryption="from_the_start" if parts.scheme == "smtps" else wanted,
        user=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
    )


def setting_problems(smtp_url: SecretText | None, mail_from: str | None) -> list[str]:
    """Problems of the settings SMTP_URL and MAIL_FROM."""
    problems = []
    if (smtp_url is None) != (mail_from is None):
        problems.append("SMTP_URL: goes together with HOOKSTREAM_MAIL_FROM")
    if smtp_url is not None:
        try:
            read_smtp_url(smtp_url.reveal())
        except ValueError as error:
            problems.append(f"SMTP_URL: {error}")
    if mail_from is not None and not is_address(parseaddr(mail_from)[1]):
        problems.append("MAIL_FROM: an address, or `Name <address>`")
    return problems


_token = msgspec.json.Decoder(tuple[str, str, str])
_LONGEST = 2048
#: path of the link, on the API
UNSUBSCRIBE_PATH = "/unsubscribe"


def unsubscribe_owner(tenant: str) -> str:
    """The owner, in the sense of `KeyRing.seal`, of an address in an unsubscribe token."""
    return f"unsubscribe/{tenant}"


def unsubscribe_token(tenant: str, sealed: SealedSecret) -> str:
    """The token of an unsubscribe link, in characters that need no escaping in a URL."""
    text = msgspec.json.encode((tenant, sealed.key_id, sealed.blob))
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def read_unsubscribe_token(text: str) -> tuple[str, SealedSecret]:
    """The tenant and the sealed address of a token. Raises `Defect` for an invalid one."""
    try:
        if len(text) > _LONGEST:
            raise ValueError("too long")
        tenant, key_id, blob = _token.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, RecursionError) as error:
        raise Defect(f"the unsubscribe link is invalid: {error}") from error
    return tenant, SealedSecret(key_id=key_id, blob=blob, created_at_ms=0)


_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")


def is_address(text: str) -> bool:
    """Whether `text` has the form of one e-mail address, without line breaks, spaces or lists."""
    return len(text) <= 254 and _ADDRESS.fullmatch(text) is not None


class DigestEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One notice as text; every field is one line."""

    title: str
    at: str
    mode: str
    endpoint_id: str
    description: str
    summary: str
    #: what the last outcome means
    meaning: str
    #: what to do about it
    advice: str
    #: what to do with the endpoint
    next_step: str


class EmailDigest(msgspec.Struct, frozen=True, kw_only=True):
    """The values of the e-mail templates."""

    subject: str
    tenant: str
    entries: tuple[DigestEntry, ...]
    more: int
    unsubscribe: str | None
