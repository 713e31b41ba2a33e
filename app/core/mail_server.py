"""What HOOKSTREAM_SMTP_URL says: smtp://user:password@host:port, or smtps:// for TLS from the first byte."""

from __future__ import annotations

from typing import Literal
from urllib.parse import unquote, urlsplit

import msgspec

#: wanted: STARTTLS where the server offers it; demanded: nothing is said without it
Encryption = Literal["from_the_start", "demanded", "wanted"]

_PORTS = {"smtp": 25, "smtps": 465}
_HERE = ("localhost", "127.0.0.1", "::1")


class MailServer(msgspec.Struct, frozen=True, kw_only=True):
    """Where e-mail goes."""

    host: str
    port: int
    encryption: Encryption
    user: str | None = None
    password: str | None = None

    def __repr__(self) -> str:
        return f"MailServer({self.host}:{self.port})"


def read(url: str) -> MailServer:
    """The server of a URL; `ValueError`, which does not quote the password, when it is none.

    A password never travels in the clear, unless the server is on this machine.
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
    wanted: Encryption = "demanded" if parts.username and parts.hostname not in _HERE else "wanted"
    return MailServer(
        host=parts.hostname, port=port or _PORTS[parts.scheme],
        encryption="from_the_start" if parts.scheme == "smtps" else wanted,
        user=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
    )  # fmt: skip
