"""No route, form or page answers hostile requests with an internal error."""

from __future__ import annotations

import random
import re
import socket
from collections import Counter
from pathlib import Path
from urllib.parse import urlencode

import pytest
from structlog.testing import capture_logs

from app.api.server.routes import ROUTES
from app.dashboard.server import site
from app.dashboard.server.routes import SCREENS
from tests.api.raw_http import FORM, JSON, ask
from tests.dashboard.stage import KEYS, OPERATOR, Stage, browser

ACME, OTHER = KEYS["acme", "live"], KEYS["other", "live"]


HOSTILE = [
    "",
    "%",
    "%zz",
    "%00",
    "%0d%0a",
    "%ff%fe",
    "..",
    "%2e%2e",
    "a" * 3000,
    "'",
    '"',
    "<script>",
    "{{7*7}}",
    "\xff\xfe",
    "null",
    "-1",
    "1e999",
    "9" * 400,
    "[",
    "]",
    "//x",
    "@",
    "a=b",
    "a&" * 300,
    "=",
    ";",
    "\t",
    "%F0%9F%98%80",
    "x y",
    "[::1",
    "\\",
]


VALUES = [
    "",
    "0",
    "1",
    "-1",
    "9" * 400,
    "1e999",
    "nan",
    "inf",
    "0,5,9",
    ",,,",
    "*",
    "a.b",
    "user.*",
    "https://acme.example/x",
    "http://[",
    "https://" + "a" * 3000,
    "x: y\nz: w",
    "x\x00y",
    "\U0001f600",
    "\u202e",
    "2026-02-30T25:61:00Z",
    "3d",
    "99999999999d",
    "2026-01-01T00:00:00Z",
    "standard",
    "recall",
    "whsec_x",
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "on",
    "fifo",
    "[1,2",
    '{"a": 1}',
    "[" * 3000,
    "ep_1",
    "<script>",
    "'\"",
    "\r\nX: y",
    "0x10",
    "1_000",
    "\u0662",
    " ",
    "a" * 20_000,
]


HEADERS = [
    "Cookie",
    "Content-Type",
    "Content-Encoding",
    "If-Match",
    "Idempotency-Key",
    "Hookstream-Tenant",
    "Hookstream-Mode",
    "HX-Request",
    "Last-Event-ID",
    "Origin",
    "Sec-Fetch-Site",
    "X-CSRF-Token",
    "Authorization",
    "Accept",
    "Range",
    "Expect",
    "Upgrade",
    "Connection",
    "X-Forwarded-For",
    "If-Modified-Since",
    "Accept-Encoding",
    "Host",
    "Content-Length",
    "Transfer-Encoding",
    "TE",
    "Trailer",
]


BODIES = [
    b"",
    b"{}",
    b"[]",
    b"null",
    b"[" * 100_000,
    b'{"a":' * 20_000,
    b"\xff\xfe",
    b"a=b&c=d",
    b"%41" * 2000,
    b"&" * 100,
    b"=",
    b'{"type":"a.b","data":' + b"[" * 5000 + b"]" * 5000 + b"}",
    b'"\\ud800"',
    b'{"url":"http://[","events":"*"}',
    b'{"type":"\\u0000","data":1}',
    b"1" * 5000,
    b"-",
    b"\x00" * 100,
    b"csrf=%ff%fe&token=%00",
    b'{"limit":1e999}',
    b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\nb\r\n--x--",
    b'{"from":"99999d"}',
    b'{"schedule":[1e308]}',
]


TYPES = [
    JSON,
    FORM,
    "multipart/form-data; boundary=x",
    "text/plain",
    f"{FORM}; charset=x",
    ";",
    "",
    f"{JSON}; charset=\xff",
]


async def test_no_route_answers_malformed_input_with_a_500(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_lookup(*_: object) -> str:
        raise AssertionError("a stranger's request asks the name server")

    monkeypatch.setattr(socket, "getfqdn", no_lookup)
    dice = random.Random(5)
    async with browser(stage, OPERATOR) as somebody:
        cookie = next(each.value for each in somebody.http.cookie_jar if each.key == "hookstream_session")
    places = [(each.method, each.path) for each in ROUTES]
    places += [
        ("GET", path)
        for path in (
            "/openapi.json",
            "/asyncapi.yaml",
            "/agreement",
            "/unsubscribe",
            "/healthz",
            "/",
            "/ui/assets/{name}",
        )
    ]
    for entry in SCREENS:
        bases = ("/ui/t/acme/live", "/ui/t/{tenant}/{mode}", "/portal/{token}") if entry.scoped else ("/ui",)
        places += [(entry.method, base + entry.path) for base in bases if not entry.path.endswith("/live")]
    with capture_logs() as lines:
        for method, pattern in places * 8:
            request = one_of(dice, method, pattern, cookie)
            answer = await ask(stage.url, request)
            await stage.clock.advance(0.05)
            assert answer.status < 500, (request[:600], answer)
    assert not [line for line in lines if line["log_level"] in ("error", "critical")]


async def test_no_page_answers_hostile_values_with_a_500(stage: Stage) -> None:
    dice = random.Random(7)
    templates = (Path(site.__file__).parents[1] / "templates").rglob("*.html")
    text = "".join(each.read_text("utf-8") for each in templates)
    names = sorted(set(re.findall(r'name="([a-z_]+)"', text)) - {"csrf"})
    assert len(names) > 20
    statuses = Counter[int]()
    async with browser(stage, ACME) as somebody:
        with capture_logs() as lines:
            for entry in [each for each in SCREENS if each.scoped and not each.path.endswith("/live")] * 12:
                path = "/ui/t/acme/live" + re.sub(
                    r"\{[^}]*\}", lambda _: dice.choice(["ep_1", "pause", "x"]), entry.path
                )
                form = {name: dice.choice(VALUES) for name in dice.sample(names, 12)}
                if entry.method == "POST":
                    status = (await somebody.post(path, form))[0]
                else:
                    query = {
                        dice.choice(["cursor", "since", "until", "state", "event", "limit", "type"]): dice.choice(
                            VALUES
                        )
                    }
                    status = (await somebody.get(f"{path}?{urlencode(query, errors='replace')}"))[0]
                await stage.clock.advance(0.05)
                statuses[status] += 1
                assert status < 500, (entry, form)
    assert not [line for line in lines if line["log_level"] in ("error", "critical")]
    assert statuses[200] > 50 and statuses[422] > 20, statuses


def one_of(dice: random.Random, method: str, pattern: str, cookie: str) -> bytes:
    """A request that is wrong somewhere."""

    def fill(match: re.Match[str]) -> str:
        return dice.choice(["ep_1", "acme", "live", "x", *HOSTILE]).replace(" ", "%20").replace("\t", "%09")

    path = re.sub(r"\{[^}]*\}", fill, pattern)
    if dice.random() < 0.5:
        names = dice.sample(["limit", "cursor", "since", "next", "state", "token"], 2)
        query = "&".join(f"{name}={dice.choice(HOSTILE)}" for name in names)
        path += "?" + query.replace(" ", "%20").replace("\t", "%09")
    body = dice.choice(BODIES) if method != "GET" or dice.random() < 0.2 else b""
    fields = [("Host", "localhost"), ("Content-Length", str(len(body))), ("Content-Type", dice.choice(TYPES))]
    fields.append(("Cookie", f"hookstream_session={cookie}") if dice.random() < 0.5 else ("X", "y"))
    fields.append(("Authorization", f"Bearer {dice.choice([ACME, OPERATOR])}") if dice.random() < 0.7 else ("Y", "z"))
    for _ in range(dice.randrange(3)):
        fields[dice.randrange(1, len(fields))] = (dice.choice(HEADERS), dice.choice(HOSTILE)[:2000])
    text = "".join(f"{name}: {value}\r\n" for name, value in fields)
    return f"{method} {path} HTTP/1.{dice.choice('0111')}\r\n{text}\r\n".encode("latin-1", "replace") + body
