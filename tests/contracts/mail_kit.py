"""A real SMTP server that keeps what it takes."""

from __future__ import annotations

import asyncio
import email
import email.policy
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from email.message import EmailMessage
from typing import Any

from aiosmtpd.smtp import SMTP

from tests.patience import PATIENCE_S


class Postbox:
    """An aiosmtpd handler that keeps what it takes."""

    def __init__(self) -> None:
        #: address → what is said to RCPT TO
        self.answers: dict[str, str] = {}
        self.at_data = "250 taken"
        self.changed = asyncio.Event()
        #: each e-mail as it came
        self.raw: list[bytes] = []
        self.taken: list[tuple[list[str], EmailMessage, bool]] = []

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any) -> str:
        answer = self.answers.get(address, "250 OK")
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, _server: Any, session: Any, envelope: Any) -> str:
        if self.at_data.startswith("250"):
            message: Any = email.message_from_bytes(envelope.content, policy=email.policy.default)
            self.raw.append(envelope.content)
            self.taken.append((envelope.rcpt_tos, message, session.ssl is not None))
            self.changed.set()
        return self.at_data

    async def until(self, condition: Callable[[], bool], deadline_s: float = PATIENCE_S) -> None:
        """Wait until the condition holds; looked at after each e-mail."""
        async with asyncio.timeout(deadline_s):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    def texts(self) -> list[str]:
        """The plain texts."""
        return [str(message.get_body(("plain",)).get_content()) for _, message, _ in self.taken]  # type: ignore[union-attr]


@asynccontextmanager
async def running(box: Postbox, *, implicit: bool = False, port: int = 0, **options: Any) -> AsyncIterator[int]:
    """A server on a port of its own."""
    tls = options.pop("tls", None)
    if tls is not None and not implicit:
        options["tls_context"] = tls
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(box, loop=asyncio.get_running_loop(), **options), "127.0.0.1", port, ssl=tls if implicit else None
    )
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()
