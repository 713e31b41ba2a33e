"""Handshakes as every sender makes them."""

from __future__ import annotations

from app.core.model.http_exchange import HttpRequest
from tests.contracts.fault_server import FaultServer, answering
from tests.contracts.sender_kit import Open, replied
from tests.patience import PATIENCE_S


async def test_a_handshake_is_an_options_request_without_a_body(open_sender: Open) -> None:
    sender = await open_sender()
    async with FaultServer(
        answering(b"HTTP/1.1 200 OK\r\nWebHook-Allowed-Origin: *\r\ncontent-length: 0\r\n\r\n")
    ) as server:
        request = HttpRequest(url=server.url, headers=(), body=b"", timeout_s=PATIENCE_S, method="OPTIONS")
        reply = replied(await sender.send(request), 200)
    assert reply.header("webhook-allowed-origin") == "*"
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert (head.split(b"\r\n")[0], body) == (b"OPTIONS /hook HTTP/1.1", b"")
