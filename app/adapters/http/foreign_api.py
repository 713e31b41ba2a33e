"""Reading the JSON of another product's API: with its key, bounded, and without following redirects."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp
import msgspec

from app.core.errors import CommandRefused, ConfigError, Unavailable
from app.core.secret_text import SecretText

#: bytes of one answer, and answers of one run
_ANSWER_BYTES = 32 * 1024 * 1024
_ANSWERS = 1_000_000
#: how often a 429 is waited for, and the most seconds for each
_PATIENCE, _PATIENCE_S = 10, 60
_TIMEOUT_S = 60.0
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class ForeignApi:
    """One connection; `async with` opens and closes it. Calls raise `CommandRefused` and `Unavailable`."""

    def __init__(self, base: str, key: SecretText) -> None:
        """Raises `ConfigError`."""
        parts = urlsplit(base)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or "@" in parts.netloc:
            raise ConfigError(["the product's API is an address such as https://api.eu.svix.com"])
        if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            raise ConfigError([f"the key would go to {parts.hostname} unencrypted: use https://"])
        self._base = base.rstrip("/")
        self._headers = {"Authorization": f"Bearer {key.reveal()}", "Accept": "application/json"}
        self._http: aiohttp.ClientSession | None = None
        self._left = _ANSWERS

    async def __aenter__(self) -> ForeignApi:
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
        self._http = aiohttp.ClientSession(timeout=timeout, headers=self._headers)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._http is not None:
            await self._http.close()

    async def get(self, *path: str, query: Mapping[str, str] | None = None, slash: bool = False) -> Any:
        """One answer; null: 404. `slash`: the path ends with one."""
        address = "/".join([self._base, *(quote(part, safe="") for part in path)]) + ("/" if slash else "")
        status, wait, body = await self._once(address, query)
        for _ in range(_PATIENCE):
            if status != 429:
                break
            await asyncio.sleep(min(int(wait), _PATIENCE_S) if wait.isascii() and wait.isdigit() else 1)
            status, wait, body = await self._once(address, query)
        if status == 404:
            return None
        if status != 200:
            shown = body[:200].decode("utf-8", "replace").strip()
            raise CommandRefused("source", f"{address} answers {status}: {shown}")
        try:
            return msgspec.json.decode(body)
        except (ValueError, RecursionError) as error:
            raise Unavailable(f"{address} answers something that is not JSON") from error

    async def _once(self, address: str, query: Mapping[str, str] | None) -> tuple[int, str, bytes]:
        assert self._http is not None, "inside `async with` only"
        self._left -= 1
        if self._left < 0:
            raise Unavailable(f"{self._base} has more than {_ANSWERS:,} answers")
        try:
            async with self._http.get(address, params=query, allow_redirects=False) as answer:
                body = await answer.content.read(_ANSWER_BYTES)
                if not answer.content.at_eof():
                    while len(body) <= _ANSWER_BYTES and (more := await answer.content.read(65_536)):
                        body += more
                if len(body) > _ANSWER_BYTES:
                    raise Unavailable(f"{address} answers more than {_ANSWER_BYTES // 1024 // 1024} MiB")
                return answer.status, answer.headers.get("Retry-After", ""), body
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unavailable(f"{address} cannot be read: {str(error) or type(error).__name__}") from error
