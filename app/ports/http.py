"""Sending HTTP requests to endpoints."""

from __future__ import annotations

from typing import Protocol

from app.core.model.http_exchange import HttpOutcome, HttpRequest


class Sender(Protocol):
    """Make one HTTP exchange with a customer's endpoint."""

    async def send(self, request: HttpRequest) -> HttpOutcome:
        """Send and read the answer; returns within `request.timeout_s` (+ 100 ms).

        Never raises for anything that the network or the receiver does; cancellation closes the connection.
        Raises `Hindered` when nothing was sent, because this machine lacks what a connection needs. Returning a
        `Refusal` does not mean that the receiver has not processed the request.
        """
        ...
