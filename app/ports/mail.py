"""Rendering and sending e-mail."""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

import msgspec

from app.core.email import EmailDigest


class OutgoingEmail(msgspec.Struct, frozen=True, kw_only=True):
    """One e-mail for one address."""

    #: the same for every try to send this e-mail
    id: str
    to: str
    subject: str
    text: str
    html: str
    #: URL for List-Unsubscribe (one click); None: no such URL is configured
    unsubscribe: str | None


class SmtpResult(NamedTuple):
    """The result of one try to send an e-mail."""

    #: sent: the server has accepted it; refused: permanently, for this address; later: unknown, so retry
    result: Literal["sent", "refused", "later"]
    #: one line for logs
    detail: str


class Mailer(Protocol):
    """Sends e-mail through the operator's mail server."""

    async def send(self, mail: OutgoingEmail) -> SmtpResult:
        """Send one e-mail. Returns within a minute; failures of the server or the network are not raised."""
        ...


class EmailRenderer(Protocol):
    """Renders the body of an e-mail."""

    def text(self, letter: EmailDigest) -> str:
        """As plain text."""
        ...

    def html(self, letter: EmailDigest) -> str:
        """As HTML. All values from users are escaped."""
        ...
