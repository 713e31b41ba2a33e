"""`app.ports.mail.Mailer` on aiosmtplib: one connection for each e-mail.

A refusal (5xx) of an address or of the content is final for this address. Every other failure can be remedied and is
therefore retried: no connection, no TLS, wrong credentials, a sender that the server does not accept, 4xx.
"""

from __future__ import annotations

import asyncio
import ssl
from email.errors import MessageError
from email.headerregistry import HeaderRegistry, UnstructuredHeader
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.policy import Policy
from email.utils import formatdate, parseaddr
from pathlib import Path
from typing import Any

import aiosmtplib

from app.core.email import SmtpServer
from app.core.wording import plain
from app.ports.clock import Clock
from app.ports.dependencies import Dependency
from app.ports.mail import OutgoingEmail, SmtpResult

_TIMEOUT_S = 30.0
_LINK_HEADER = "List-Unsubscribe"
#: RFC 5322 limits lines to 998 characters, and a link cannot be folded
_LONGEST_LINK = 998 - len(_LINK_HEADER) - 4


class _LinkHeader(UnstructuredHeader):
    """A link without RFC 2047 encoding, which programs that read List-Unsubscribe do not decode."""

    def fold(self, *, policy: Policy[Any]) -> str:
        return f"{_LINK_HEADER}: {self}{policy.linesep}"


class _Headers(HeaderRegistry):
    def __init__(self) -> None:
        super().__init__()
        self.map_to_type(_LINK_HEADER, _LinkHeader)  # type: ignore[arg-type]  # a mix-in, as the module has it


_POLICY = SMTP_POLICY.clone(header_factory=_Headers())


class SmtpMailer:
    """One mail server."""

    def __init__(
        self,
        server: SmtpServer,
        sender: str,
        clock: Clock,
        ca_file: Path | None = None,
        status: Dependency | None = None,
    ) -> None:
        """`sender` is an address, or `Name <address>`; `ca_file` holds further trusted authorities (PEM).

        `status` records whether the server accepts e-mail at all.
        """
        self._status = status
        self._server = server
        self._sender = sender
        self._clock = clock
        self._tls = ssl.create_default_context()
        if ca_file is not None:
            self._tls.load_verify_locations(ca_file)

    async def send(self, mail: OutgoingEmail) -> SmtpResult:
        """See `app.ports.mail.Mailer`."""
        try:
            message = self._message(mail)
        except (ValueError, MessageError, UnicodeError) as error:  # an address or a header that cannot be written
            return SmtpResult("refused", plain(f"it cannot be written: {error}"))
        try:
            async with asyncio.timeout(2 * _TIMEOUT_S), self._client() as client:
                await client.send_message(message, sender=parseaddr(self._sender)[1], recipients=[mail.to])
        except aiosmtplib.SMTPRecipientsRefused as error:
            (first, *_) = error.recipients
            outcome = _judged(first.code, first.message)
        except (aiosmtplib.SMTPRecipientRefused, aiosmtplib.SMTPDataError) as error:
            outcome = _judged(error.code, error.message)
        except (aiosmtplib.SMTPException, OSError, TimeoutError, ValueError) as error:
            detail = plain(f"{type(error).__name__}: {error}")
            if self._status is not None:
                self._status.down(f"The mail server {self._server.host}:{self._server.port}: {detail}")
            return SmtpResult("later", detail)
        else:
            outcome = SmtpResult("sent", "")
        if self._status is not None:
            self._status.up()
        return outcome

    async def problem(self) -> str | None:
        """Connect and log in without sending anything. Returns why the server cannot be used; None if it can."""
        try:
            async with asyncio.timeout(_TIMEOUT_S), self._client() as client:
                await client.noop()
        except (aiosmtplib.SMTPException, OSError, TimeoutError, ValueError) as error:
            return plain(f"{type(error).__name__}: {error}")
        return None

    def _client(self) -> aiosmtplib.SMTP:
        server = self._server
        return aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            username=server.user,
            password=server.password,
            use_tls=server.encryption == "from_the_start",
            start_tls={"from_the_start": False, "demanded": True, "wanted": None}[server.encryption],
            tls_context=self._tls,
            timeout=_TIMEOUT_S,
        )

    def _message(self, mail: OutgoingEmail) -> EmailMessage:
        message = EmailMessage(policy=_POLICY)
        message["From"] = self._sender
        message["To"] = mail.to
        message["Subject"] = mail.subject
        message["Date"] = formatdate(self._clock.now_ms() / 1000)
        message["Message-ID"] = f"<{mail.id}@{parseaddr(self._sender)[1].rpartition('@')[2]}>"
        message["Auto-Submitted"] = "auto-generated"
        if mail.unsubscribe is not None and len(mail.unsubscribe) <= _LONGEST_LINK:  # else in the text alone
            message[_LINK_HEADER] = f"<{mail.unsubscribe}>"
            message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
        message.set_content(mail.text, cte="quoted-printable")
        message.add_alternative(mail.html, subtype="html", cte="quoted-printable")
        return message


def _judged(code: int, text: str) -> SmtpResult:
    return SmtpResult("refused" if 500 <= code < 600 else "later", plain(f"{code} {text}"))
