"""The mailer against a real SMTP server: TLS, credentials, refusals, outages, and what arrives."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trustme
from aiosmtpd.smtp import AuthResult, LoginPassword

from app.adapters.mail.smtp import SmtpMailer
from app.core.email import read_smtp_url
from app.ports.mail import OutgoingEmail
from tests.contracts.mail_kit import Postbox, running
from tests.fakes.clock import FakeClock

LINK = "https://hooks.example.com/unsubscribe?token=" + "x" * 400
MAIL = OutgoingEmail(
    id="ntc.1",
    to="ops@customer.example",
    subject="Webhook endpoint: 1 disabled",
    text="plain – text\n",
    html="<p>markup</p>\n",
    unsubscribe=LINK,
)


@pytest.fixture
def trust(tmp_path: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's certificate, and the file of the authority that signed it."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return context, path


def mailer(url: str, ca_file: Path | None = None) -> SmtpMailer:
    return SmtpMailer(read_smtp_url(url), "Hookstream <noreply@hooks.example.com>", FakeClock(), ca_file)


async def test_the_message_arrives_unchanged() -> None:
    box = Postbox()
    async with running(box) as port:
        assert await mailer(f"smtp://127.0.0.1:{port}").send(MAIL) == ("sent", "")
    ((recipients, message, encrypted),) = box.taken
    assert recipients == ["ops@customer.example"] and not encrypted
    assert message["From"] == "Hookstream <noreply@hooks.example.com>"
    assert message["Subject"] == MAIL.subject
    assert message["Message-ID"] == "<ntc.1@hooks.example.com>"
    assert message["List-Unsubscribe"] == f"<{LINK}>"
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert f"List-Unsubscribe: <{LINK}>\r\n".encode() in box.raw[0], "neither encoded nor cut"
    assert all(len(line) <= 998 for line in box.raw[0].split(b"\r\n"))
    assert message["Auto-Submitted"] == "auto-generated"
    bodies = {part.get_content_type(): part.get_content() for part in message.walk() if not part.is_multipart()}
    assert bodies["text/plain"].strip() == "plain – text" and "<p>markup</p>" in bodies["text/html"]


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
async def test_tls_is_used_and_its_certificate_is_checked(trust: tuple[ssl.SSLContext, Path], scheme: str) -> None:
    context, ca_file = trust
    box = Postbox()
    async with running(box, tls=context, implicit=scheme == "smtps") as port:
        url = f"{scheme}://127.0.0.1:{port}"
        assert (await mailer(url, ca_file).send(MAIL)).result == "sent"
        assert (await mailer(url).send(MAIL)).result == "later", "nobody knows who has signed that certificate"
    assert len(box.taken) == 1
    if scheme == "smtp":
        assert box.taken[0][2]


async def test_credentials_are_sent_over_tls_and_not_in_the_clear(trust: tuple[ssl.SSLContext, Path]) -> None:
    context, ca_file = trust
    seen = []

    def authenticate(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        seen.append((data.login, data.password))
        return AuthResult(success=data.password == b"s3cret", handled=False)

    box = Postbox()
    options: dict[str, Any] = {"authenticator": authenticate, "auth_required": True}
    async with running(box, tls=context, **options) as port:
        assert (await mailer(f"smtp://me:s3cret@127.0.0.1:{port}", ca_file).send(MAIL)).result == "sent"
        wrong = await mailer(f"smtp://me:wrong@127.0.0.1:{port}", ca_file).send(MAIL)
        assert wrong.result == "later" and "wrong" not in wrong.detail
    demanding = SmtpMailer(read_smtp_url("smtp://me:s3cret@mail.example"), "a@b.example", FakeClock(), ca_file)
    assert demanding._server.encryption == "demanded"
    assert seen[0] == (b"me", b"s3cret")


@pytest.mark.parametrize(
    ("answers", "at_data", "result"),
    [
        ({"ops@customer.example": "550 5.1.1 no such user"}, "250 OK", "refused"),
        ({"ops@customer.example": "450 4.2.1 greylisted"}, "250 OK", "later"),
        ({}, "554 5.7.1 spam", "refused"),
        ({}, "451 4.3.0 disk full", "later"),
    ],
)
async def test_a_refusal_is_final_and_a_temporary_failure_is_not(
    answers: dict[str, str], at_data: str, result: str
) -> None:
    box = Postbox()
    box.answers, box.at_data = answers, at_data
    async with running(box) as port:
        outcome = await mailer(f"smtp://127.0.0.1:{port}").send(MAIL)
    assert outcome.result == result and outcome.detail[:3] in str([*answers.values(), at_data])


async def test_no_server_and_a_server_that_hangs_up_are_outages() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        assert (await mailer(f"smtp://127.0.0.1:{unused.getsockname()[1]}").send(MAIL)).result == "later"

    async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    rude = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with rude:
        assert (await mailer(f"smtp://127.0.0.1:{rude.sockets[0].getsockname()[1]}").send(MAIL)).result == "later"


@pytest.mark.parametrize("to", ["a@b.example\r\nBcc: c@d.example", "a@b.example\nX: y", "ä@b.example"])
async def test_an_address_that_would_break_a_header_is_refused(to: str) -> None:
    box = Postbox()
    async with running(box) as port:
        outcome = await mailer(f"smtp://127.0.0.1:{port}").send(OutgoingEmail(**{**_fields(), "to": to}))
    assert outcome.result != "sent" and box.taken == []


def _fields() -> dict[str, Any]:
    return {name: getattr(MAIL, name) for name in OutgoingEmail.__struct_fields__}


async def test_a_link_too_long_for_a_header_is_only_in_the_text() -> None:
    box = Postbox()
    long = MAIL.unsubscribe + "x" * 600 if MAIL.unsubscribe else ""
    async with running(box) as port:
        sent = msgspec.structs.replace(MAIL, unsubscribe=long, text=f"stop: {long}\n")
        assert await mailer(f"smtp://127.0.0.1:{port}").send(sent) == ("sent", "")
    ((_, message, _),) = box.taken
    assert message["List-Unsubscribe"] is None and long in box.texts()[0]
    assert all(len(line) <= 998 for line in box.raw[0].split(b"\r\n"))
