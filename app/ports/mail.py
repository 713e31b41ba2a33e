"""What the notifier needs to write e-mail."""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

import msgspec

from app.core.email import EmailDigest


class OutgoingEmail(msgspec.Struct, frozen=True, kw_only=True):
    """One e-mail for one address."""

    #: the same e-mail handed over again has the same id
    id: str
    to: str
    subject: str
    text: str
    html: str
    #: where one click ends the subscription; None: there is no such place
    unsubscribe: str | None


class SmtpResult(NamedTuple):
    """What the mail server has made of it."""

    #: sent: it has taken it over; refused: it never will, for this address; later: nobody knows, try again
    result: Literal["sent", "refused", "later"]
    #: in one line
    detail: str


class Mailer(Protocol):
    """Hand e-mail to the operator's mail server."""

    async def send(self, mail: OutgoingEmail) -> SmtpResult:
        """Returns within a minute, and raises nothing that the server or the network does."""
        ...


class EmailRenderer(Protocol):
    """Put a letter into words."""

    def text(self, letter: EmailDigest) -> str:
        """As plain text."""
        ...

    def html(self, letter: EmailDigest) -> str:
        """As HTML; everything that others wrote is escaped."""
        ...
