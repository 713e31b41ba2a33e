"""Sending HTTP requests to endpoints."""

from __future__ import annotations

from typing import Protocol

from app.core.model.http_exchange import HttpOutcome, HttpRequest


class Sender(Protocol):
    """Makes HTTP requests to customers' endpoints."""

    async def send(self, request: HttpRequest) -> HttpOutcome:
        """Send a request and read the response; returns within `request.timeout_s` (+ 100 ms).

        Failures of the network or the receiver are returned as `HttpFailure`, never raised; the receiver may have
        processed the request all the same. Raises `Hindered` when nothing was sent because this machine lacks a
        resource, such as descriptors or a route. A cancellation closes the connection.
        """
        ...
