"""A client of the management API, used by commands that have an API address instead of a Kafka address."""

from __future__ import annotations

import asyncio
import copy
import ssl
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec
from yarl import URL

from app.adapters.http.event_stream import SseMessage, messages
from app.core.errors import CommandRefused, ConfigError, Unavailable
from app.core.secret_text import SecretText

#: entries of a page: the maximum of the API
_PAGE = 100
#: how many times a Retry-After is obeyed, and the most seconds for each
_PATIENCE, _PATIENCE_S = 3, 30.0
_SHOWN = 200
#: seconds without a byte after which a stream is broken; the API sends a beat every 15 s
_SILENCE_S = 60.0


class _FieldError(msgspec.Struct):
    detail: str = ""
    pointer: str | None = None


class _Problem(msgspec.Struct):
    """A problem response (RFC 9457); missing members are empty."""

    type: str = "about:blank"
    title: str = ""
    detail: str = ""
    errors: list[_FieldError] = []

    @property
    def code(self) -> str:
        """The last part of the type: `urn:hookstream:problem:not_found` is not_found."""
        return self.type.replace("/", ":").rsplit(":", 1)[-1] if self.type != "about:blank" else "refused"

    def sentence(self) -> str:
        """The detail, and a line for each error with its pointer."""
        sentence = self.detail or self.title
        places = [each for each in self.errors if each.pointer]
        if not places:
            return sentence
        if len(self.errors) == 1:
            return f"{sentence} (at {places[0].pointer})"
        return "\n".join([sentence, *(f"  {each.pointer or '-'}: {each.detail}" for each in self.errors)])


class _Answer(msgspec.Struct, frozen=True):
    status: int
    headers: Mapping[str, str]
    body: bytes


class _Broken(Unavailable):
    """The connection broke after the request may have been sent."""


class ApiClient:
    """One connection to the API, for one caller; `async with` opens and closes it.

    Every call raises `CommandRefused` when the API refuses, and `Unavailable` when it cannot be asked.
    """

    def __init__(
        self,
        url: str,
        token: SecretText,
        *,
        ca_file: Path | None = None,
        proxy: str | None = None,
        timeout_s: float = 90.0,
        acting_for: tuple[str, str] | None = None,
    ) -> None:
        """`acting_for` is the tenant and the mode that the operator's token is used for."""
        self._base = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token.reveal()}", "User-Agent": "hookstream-cli"}
        self._acting_for = _acting_headers(acting_for)
        self._ca_file = ca_file
        self._proxy = proxy
        self._timeout_s = timeout_s
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> ApiClient:
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=_trust(self._ca_file)),
            timeout=aiohttp.ClientTimeout(total=self._timeout_s),
            headers=self._headers,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._http is not None:
            await self._http.close()

    def acting_as(self, tenant: str, mode: str) -> ApiClient:
        """This connection, on which the operator's token is used for a tenant and mode."""
        other = copy.copy(self)
        other._acting_for = _acting_headers((tenant, mode))
        return other

    async def get(self, *path: str, query: Mapping[str, str] | None = None) -> Any:
        """GET one resource."""
        return await self._call("GET", path, query=query)

    async def all(self, *path: str, query: Mapping[str, str] | None = None) -> list[Any]:
        """All entries of a list, from all of its pages."""
        entries: list[Any] = []
        cursor: str | None = None
        while True:
            asked = {**(query or {}), "limit": str(_PAGE)} | ({"cursor": cursor} if cursor else {})
            page = await self._call("GET", path, query=asked)
            if not isinstance(page, dict) or not isinstance(page.get("data"), list):
                raise self._foreign("a list without `data`")
            entries += page["data"]
            following = page.get("next_cursor")
            if not following or following == cursor:
                return entries
            cursor = following

    async def post(self, *path: str, body: Any = None) -> Any:
        """POST once: after a broken connection it is retried with the same Idempotency-Key."""
        return await self._call("POST", path, body=body, headers={"Idempotency-Key": uuid.uuid4().hex})

    async def put(self, *path: str, body: Any, expect_version: int | None = None) -> Any:
        """PUT; with `expect_version`, only if the resource still has that version."""
        return await self._call("PUT", path, body=body, headers=_if_match(expect_version))

    async def patch(self, *path: str, body: Any, expect_version: int | None = None) -> Any:
        """PATCH; with `expect_version`, only if the resource still has that version."""
        return await self._call("PATCH", path, body=body, headers=_if_match(expect_version))

    async def delete(self, *path: str, expect_version: int | None = None) -> Any:
        """DELETE; with `expect_version`, only if the resource still has that version."""
        return await self._call("DELETE", path, headers=_if_match(expect_version))

    @asynccontextmanager
    async def stream(
        self, *path: str, query: Mapping[str, str] | None = None, last_id: str = ""
    ) -> AsyncIterator[AsyncIterator[SseMessage]]:
        """GET server-sent events, from the message with that id on."""
        assert self._http is not None, "inside `async with` only"
        head = self._acting_for | {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_id} if last_id else {})
        limits = aiohttp.ClientTimeout(total=None, sock_connect=self._timeout_s, sock_read=_SILENCE_S)
        with self._reachable():
            async with self._http.get(
                self._url(path, query), headers=head, allow_redirects=False, proxy=self._proxy, timeout=limits
            ) as answer:
                if answer.status != 200 or answer.content_type != "text/event-stream":
                    self._judge(_Answer(answer.status, answer.headers.copy(), await answer.read()))
                    raise self._foreign("an answer that is not a stream of events")
                yield messages(answer.content.iter_any())

    async def _call(
        self,
        method: str,
        path: tuple[str, ...],
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        url = self._url(path, query)
        data = None if body is None else msgspec.json.encode(body)
        head = dict(headers or {}) | ({} if data is None else {"Content-Type": "application/json"})
        answer = await self._exchange(method, url, head, data)
        for _ in range(_PATIENCE):
            wait_s = _asks_for_patience(answer)
            if wait_s is None or wait_s > _PATIENCE_S:
                break
            await asyncio.sleep(wait_s)
            answer = await self._exchange(method, url, head, data)
        return self._judge(answer)

    async def _exchange(self, method: str, url: URL, headers: Mapping[str, str], data: bytes | None) -> _Answer:
        try:
            return await self._once(method, url, headers, data)
        except _Broken:
            if method != "POST":
                raise
            return await self._once(method, url, headers, data)

    async def _once(self, method: str, url: URL, headers: Mapping[str, str], data: bytes | None) -> _Answer:
        assert self._http is not None, "inside `async with` only"
        with self._reachable():
            # redirects are not followed: they would send the key to another host
            async with self._http.request(
                method,
                url,
                headers=self._acting_for | dict(headers),
                data=data,
                allow_redirects=False,
                proxy=self._proxy,
            ) as answer:
                return _Answer(answer.status, answer.headers.copy(), await answer.read())

    def _url(self, path: tuple[str, ...], query: Mapping[str, str] | None) -> URL:
        for part in path:
            if part in ("", ".", ".."):
                raise CommandRefused("not_found", f"{part!r} is no name of anything")
        whole = "/".join([self._base, "v1", *(quote(part, safe="") for part in path)])
        return URL(whole, encoded=True).with_query(query)

    def _judge(self, answer: _Answer) -> Any:
        if 200 <= answer.status < 300:
            if not answer.body:
                return None
            try:
                return msgspec.json.decode(answer.body)
            except ValueError as error:
                raise self._foreign("an answer that is not JSON") from error
        if 300 <= answer.status < 400:
            place = answer.headers.get("Location", "elsewhere")
            raise Unavailable(f"{self._base} redirects to {place}: if you trust that address, give it as the API's.")
        problem = _problem(answer)
        if answer.status == 401:
            raise CommandRefused("unauthorized", _with("the API does not accept this key", problem) + _KEY_HINT)
        if answer.status == 403:
            raise CommandRefused("forbidden", _with("this key may not do that", problem))
        if problem is None:
            shown = answer.body[:_SHOWN].decode("utf-8", "replace").strip()
            raise self._foreign(f"{answer.status} {shown}".strip())
        if answer.status >= 500:
            raise Unavailable(f"{self._base} could not do it now ({answer.status}): {problem.sentence()}")
        places = [(each.pointer, each.detail) for each in problem.errors if each.pointer]
        raise CommandRefused(problem.code, problem.sentence(), places)

    def _foreign(self, what: str) -> Unavailable:
        return Unavailable(
            f"{self._base} is not Hookstream's API, or a proxy in front of it has answered: {what}\n"
            "Check the address (scheme, port, and the path if it is behind a proxy)."
        )

    @contextmanager
    def _reachable(self) -> Iterator[None]:
        """Turn aiohttp's exceptions into `Unavailable` with the remedy."""
        base = self._base
        try:
            yield
        except aiohttp.ClientSSLError as error:
            why = error.certificate_error if isinstance(error, aiohttp.ClientConnectorCertificateError) else error
            raise Unavailable(
                f"No trusted connection to {base}: {why}\nName the authority's certificate with --ca-file (ca_file in "
                "the context), use the name that the certificate is for, or http:// if the API has no TLS."
            ) from error
        except aiohttp.ClientConnectorError as error:
            raise Unavailable(
                f"Nothing answers at {base} ({error.os_error.strerror or error.os_error}). Is the service running "
                "(`hookstream up` or `hookstream run all`), and are the host name and the port correct?"
            ) from error
        except TimeoutError as error:
            raise Unavailable(
                f"{base} has not answered within {self._timeout_s:.0f} s. The request may have been carried out: check "
                "before you repeat it."
            ) from error
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError, aiohttp.ClientOSError) as error:
            raise _Broken(
                f"The connection to {base} broke ({error}). Check whether the request was carried out, then try again."
            ) from error
        except aiohttp.ClientError as error:
            raise Unavailable(
                f"The request to {base} failed: {str(error) or type(error).__name__}. Is the address correct?"
            ) from error


_KEY_HINT = (
    "\nThe operator lists and creates keys with `hookstream keys list` and `hookstream keys create`; those and "
    "`hookstream tenants` need the operator's token instead."
)


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                [f"{ca_file} cannot be used as a certificate authority: {error.strerror or error}"]
            ) from error
    return context


def _acting_headers(acting_for: tuple[str, str] | None) -> dict[str, str]:
    return dict(zip(("Hookstream-Tenant", "Hookstream-Mode"), acting_for or (), strict=False))


def _if_match(version: int | None) -> dict[str, str]:
    return {} if version is None else {"If-Match": f'"{version}"'}


def _asks_for_patience(answer: _Answer) -> float | None:
    """Seconds to wait before a retry (Retry-After); None if the response has none."""
    text = answer.headers.get("Retry-After", "")
    if answer.status not in (409, 429, 503) or not (text.isascii() and text.isdigit()):
        return None
    return float(text)


def _problem(answer: _Answer) -> _Problem | None:
    if not answer.headers.get("Content-Type", "").startswith("application/problem+json"):
        return None
    try:
        return msgspec.json.decode(answer.body, type=_Problem)
    except msgspec.MsgspecError:
        return None


def _with(sentence: str, problem: _Problem | None) -> str:
    reason = problem.sentence() if problem is not None else ""
    return f"{sentence}: {reason}" if reason else sentence
