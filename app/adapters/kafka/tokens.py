"""Tokens of OAUTHBEARER: one for all connections of this process, renewed before it expires."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
import threading
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec
import structlog
from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaError

from app.adapters.kafka.watched_file import read_text
from app.core.kafka_sasl import setting
from app.ports.clock import Clock

logger = structlog.get_logger(__name__)

#: the part of a token's life after which it is renewed
_RENEW_AFTER = 0.8
#: seconds between two attempts to obtain a token, while there is none and while the former one is valid
_PAUSE_S = 1.0
_PAUSE_WITH_TOKEN_S = 10.0
#: longest wait for a token; each source has a shorter limit
_WAIT_S = 40.0
_LONGEST_CLAIM = 200
#: RFC 6750; other characters would end the token in the request to the broker
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{1,65536}=*")


class TokenUnavailable(KafkaError):
    """There is no token. The message names the reason and the setting to change."""


class Token(NamedTuple):
    """A token and its end, in seconds since 1970."""

    text: str
    expires_s: float


class _Claims(msgspec.Struct):
    iss: str | None = None
    aud: str | list[str] | None = None
    sub: str | None = None
    exp: float | None = None


class TokenSource(AbstractTokenProvider):
    """Where the token of a new connection comes from."""

    def __init__(self, mechanism: str, extensions: Mapping[str, str] | None = None) -> None:
        """`mechanism`: as in the settings."""
        self.mechanism = mechanism
        self._extensions = dict(extensions or {})

    def extensions(self) -> dict[str, str]:
        """SASL extensions."""
        return self._extensions

    def refused(self) -> str:
        """To be called when a broker refuses the last token. Returns what can be shown of it."""
        return ""


class CachedToken(TokenSource):
    """Obtains a token when there is none or 80 % of its life is over, once for all connections that wait for it.

    The connections may be of several threads: each of Faust's consumers has one, with an event loop of its own.
    """

    def __init__(
        self,
        mechanism: str,
        obtain: Callable[[], Awaitable[Token]],
        clock: Clock,
        extensions: Mapping[str, str] | None = None,
    ) -> None:
        """`obtain` raises `TokenUnavailable`."""
        super().__init__(mechanism, extensions)
        self._obtain = obtain
        self._clock = clock
        self._token: Token | None = None
        self._renew_at_s = 0.0
        self._failure = ""
        self._retry_at_s = 0.0
        self._lock = threading.Lock()
        self._renewal: Future[str] | None = None
        self._task: asyncio.Task[None] | None = None

    async def token(self) -> str:
        """The token for a new connection. Raises `TokenUnavailable`."""
        with self._lock:
            if self._token is not None and self._clock.monotonic() < self._renew_at_s:
                return self._token.text
            renewal = self._renewal
            if renewal is None or renewal.done():
                renewal = self._renewal = Future()
                self._task = asyncio.create_task(self._renew(renewal))
        try:
            async with asyncio.timeout(_WAIT_S):
                # a connection that gives up does not fail the others
                return await asyncio.shield(asyncio.wrap_future(renewal))
        except TimeoutError as error:
            with self._lock:
                if self._renewal is renewal:  # its event loop has ended
                    self._renewal = None
            raise TokenUnavailable(f"There is no token after {_WAIT_S:g} s") from error

    def refused(self) -> str:
        """The token's claims. After a pause a connection obtains another token."""
        now_s = self._clock.monotonic()
        if now_s < self._renew_at_s:
            self._renew_at_s, self._retry_at_s = now_s, now_s + _PAUSE_WITH_TOKEN_S
        return claims(self._token.text) if self._token else ""

    async def _renew(self, renewal: Future[str]) -> None:
        try:
            renewal.set_result(await self._renewed())
        except TokenUnavailable as error:
            renewal.set_exception(error)
        except BaseException:
            renewal.set_exception(TokenUnavailable("The request for a token was cut off"))
            raise

    async def _renewed(self) -> str:
        now_s = self._clock.now_ms() / 1000
        usable = self._token is not None and now_s < self._token.expires_s
        if self._clock.monotonic() < self._retry_at_s:
            if self._token is not None and usable:
                return self._token.text
            raise TokenUnavailable(self._failure)
        try:
            token = await self._obtain()
            check_token(token, self._clock.now_ms() / 1000)
        except TokenUnavailable as error:
            self._failure = str(error)
            self._retry_at_s = self._clock.monotonic() + (_PAUSE_WITH_TOKEN_S if usable else _PAUSE_S)
            if self._token is None or not usable:
                raise
            logger.warning("kafka.token_not_renewed", error=self._failure, action="use the former one until it expires")
            return self._token.text
        life_s = token.expires_s - now_s
        self._token, self._retry_at_s = token, 0.0
        self._renew_at_s = self._clock.monotonic() + life_s * _RENEW_AFTER
        logger.debug("kafka.token_obtained", life_s=round(life_s))
        return token.text


class FileToken(TokenSource):
    """The token of a file, which another program replaces: Kubernetes does so for projected tokens."""

    def __init__(self, path: Path, clock: Clock, extensions: Mapping[str, str] | None = None) -> None:
        super().__init__("OAUTHBEARER", extensions)
        self._path = path
        self._clock = clock
        self._last = ""

    async def token(self) -> str:
        """The token that is in the file now. Raises `TokenUnavailable`."""
        where = f"{setting('OAUTH_TOKEN_FILE')}: {self._path}"
        try:
            text = read_text(self._path)
        except (OSError, ValueError) as error:
            raise TokenUnavailable(f"{where} cannot be used: {error}") from error
        try:
            check_token(Token(text, expiry(text) or float("inf")), self._clock.now_ms() / 1000)
        except TokenUnavailable as error:
            raise TokenUnavailable(
                f"{where} cannot be used. {error}: check the program that writes the file"
            ) from error
        self._last = text
        return text

    def refused(self) -> str:
        """The last token's claims."""
        return claims(self._last)


def expiry(token: str) -> float | None:
    """The claim `exp` of a JSON Web Token, in seconds since 1970; None for other tokens."""
    return _payload(token).exp


def claims(token: str) -> str:
    """What a broker compares with its settings; empty for a token that is no JSON Web Token."""
    payload = _payload(token)
    audience = payload.aud if isinstance(payload.aud, str) else ",".join(payload.aud or ())
    values = {"iss": payload.iss, "aud": audience, "sub": payload.sub}
    shown = [f"{name} {value[:_LONGEST_CLAIM]!r}" for name, value in values.items() if value]
    return ", ".join([*shown, f"exp {moment(payload.exp)}"] if payload.exp else shown)


def _payload(token: str) -> _Claims:
    parts = token.split(".")
    if len(parts) != 3:
        return _Claims()
    try:
        payload = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        return msgspec.json.decode(payload, type=_Claims)
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        return _Claims()


def check_token(token: Token, now_s: float) -> None:
    """Raises `TokenUnavailable` for a text that is no token, and for an expired one."""
    if not _TOKEN.fullmatch(token.text):
        raise TokenUnavailable("The token has characters that no token may have (RFC 6750)")
    if token.expires_s <= now_s:
        raise TokenUnavailable(f"The token expired on {moment(token.expires_s)}")


def moment(seconds: float) -> str:
    """A time, in ISO 8601."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return "a date that does not exist"
