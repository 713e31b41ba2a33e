"""The commands' client of the API: repetition, patience and clear sentences, against a stub."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web

from app.adapters.http.api_client import ApiClient
from app.core.errors import CommandRefused, HookstreamError, Unavailable
from app.core.secret_text import SecretText
from tests.e2e.commands import hookstream
from tests.e2e.harness import pause
from tests.ports import free_port

Handler = Callable[[web.Request], Any]


@asynccontextmanager
async def stub(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A server that answers everything with a handler."""
    application = web.Application()
    application.router.add_route("*", "/{rest:.*}", handler)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls).start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


async def failure(url: str, kind: type[HookstreamError], **more: Any) -> str:
    with pytest.raises(kind) as caught:
        async with ApiClient(url, SecretText("sk_live_x"), **more) as api:
            await api.post("webhooks", "a/b", "test")
    assert "sk_live_x" not in str(caught.value)
    return str(caught.value)


async def test_a_broken_connection_is_retried_once_with_the_same_key() -> None:
    keys: list[str] = []

    async def breaks_once(request: web.Request) -> web.Response:
        keys.append(request.headers["Idempotency-Key"])
        if len(keys) == 1:
            assert request.transport is not None
            request.transport.abort()
        return web.json_response({"id": "evt"})

    async with stub(breaks_once) as url, ApiClient(url, SecretText("k")) as api:
        assert await api.post("events", body={}) == {"id": "evt"}
        await api.post("events", body={})
    assert keys[0] == keys[1] != keys[2]

    async def breaks(request: web.Request) -> web.Response:
        keys.append("")
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    keys.clear()
    async with stub(breaks) as url:
        assert "broke" in await failure(url, Unavailable)
    assert len(keys) == 2


async def test_retry_after_of_the_api_is_obeyed() -> None:
    seen: list[str] = []

    async def busy(request: web.Request) -> web.Response:
        seen.append(request.headers["Idempotency-Key"])
        if len(seen) < 3:
            return web.json_response({}, status=(409, 429)[len(seen) - 1], headers={"Retry-After": "0"})
        return web.json_response({})

    async with stub(busy) as url, ApiClient(url, SecretText("k")) as api:
        await api.post("events", body={})
    assert len(seen) == 3 and len(set(seen)) == 1


async def test_versions_and_names_are_sent_as_the_contract_has_them() -> None:
    seen: list[tuple[str, str, str | None]] = []

    async def note(request: web.Request) -> web.Response:
        seen.append((request.method, request.raw_path, request.headers.get("If-Match")))
        assert request.headers["Authorization"] == "Bearer k"
        return web.Response(status=204)

    async with stub(note) as url, ApiClient(url + "/behind/", SecretText("k")) as api:
        await api.patch("webhooks", "a/../b?c", body={}, expect_version=7)
        await api.delete("webhooks", "ü")
        with pytest.raises(CommandRefused):
            await api.get("webhooks", "..")
    assert seen == [
        ("PATCH", "/behind/v1/webhooks/a%2F..%2Fb%3Fc", '"7"'),
        ("DELETE", "/behind/v1/webhooks/%C3%BC", None),
    ]


@pytest.mark.parametrize(
    ("status", "headers", "body", "kind", "said"),
    [
        (200, {}, b"<html>", Unavailable, "not Hookstream's API"),
        (404, {"Content-Type": "text/html"}, b"<html>nginx", Unavailable, "404 <html>nginx"),
        (404, {"Content-Type": "application/json"}, b'{"detail":"x"}', Unavailable, "not Hookstream's API"),
        (302, {"Location": "https://evil.example/"}, b"", Unavailable, "redirects to https://evil.example/"),
        (500, {"Content-Type": "application/problem+json"}, b'{"detail":"down"}', Unavailable, "down"),
        (401, {}, b"", CommandRefused, "does not accept this key"),
        (403, {}, b"", CommandRefused, "may not do that"),
        (
            422,
            {"Content-Type": "application/problem+json"},
            b'{"type":"urn:x:invalid","detail":"a; b","errors":[{"detail":"a","pointer":"/u"},{"detail":"b"}]}',
            CommandRefused,
            "a; b\n  /u: a\n  -: b",
        ),
    ],
)
async def test_every_answer_becomes_a_sentence(
    status: int, headers: dict[str, str], body: bytes, kind: type[HookstreamError], said: str
) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, headers=headers, body=body)

    async with stub(answer) as url:
        assert said in await failure(url, kind)


async def test_timeouts_and_refusals_have_a_remedy() -> None:
    async def silent(_: web.Request) -> web.Response:
        await pause(30)
        return web.Response()

    assert "hookstream run all" in await failure(f"http://127.0.0.1:{free_port()}", Unavailable)
    assert "the host name and the port" in await failure("http://nosuch.invalid", Unavailable)
    async with stub(silent) as url:
        assert "may have been carried out" in await failure(url, Unavailable, timeout_s=1)


async def test_a_certificate_has_to_be_trusted(tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))

    async def fine(_: web.Request) -> web.Response:
        return web.json_response({"ok": True})

    async with stub(fine, context) as url:
        assert "--ca-file" in await failure(url, Unavailable)
        async with ApiClient(url, SecretText("k"), ca_file=tmp_path / "ca.pem") as api:
            assert await api.get("webhooks", "x") == {"ok": True}
        ended = await hookstream("endpoints", "list", "--url", url, "--key", "sk_live_x", expect=4)
        assert "--ca-file" in ended.err and ended.out == ""
        plain = url.replace("https", "http")
        assert plain in await failure(plain, Unavailable)
