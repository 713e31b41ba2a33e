"""Send a request to a developer's own receiver: no egress guard, no retries, and no interest in the body."""

from __future__ import annotations

from types import TracebackType

import aiohttp
import msgspec

from app.core.model.http_exchange import HttpRequest
from app.ports.clock import Clock


class ForwardResult(msgspec.Struct, frozen=True, kw_only=True):
    """The receiver's status, or why there is none."""

    status: int | None
    error: str | None
    duration_ms: float


class Forwarder:
    """Sends requests one after the other; `async with` opens and closes its connections."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Forwarder:
        self._http = aiohttp.ClientSession(skip_auto_headers=("Accept", "Accept-Encoding"))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._http is not None:
            await self._http.close()

    async def send(self, request: HttpRequest) -> ForwardResult:
        """Send a request once, and do not follow redirects."""
        assert self._http is not None, "inside `async with` only"
        began_s = self._clock.monotonic()
        status, problem = None, None
        try:
            async with self._http.post(
                request.url,
                data=request.body,
                headers=list(request.headers),
                timeout=aiohttp.ClientTimeout(total=request.timeout_s),
                allow_redirects=False,
            ) as answer:
                status = answer.status
        except TimeoutError:
            problem = f"no answer within {request.timeout_s:.0f} s"
        except aiohttp.ClientConnectorError as error:
            problem = error.os_error.strerror or str(error.os_error)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            problem = str(error) or type(error).__name__
        return ForwardResult(
            status=status, error=problem, duration_ms=round((self._clock.monotonic() - began_s) * 1000, 1)
        )
