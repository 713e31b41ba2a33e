"""What an attempt keeps of a response: readable, bounded, and with a word about what is odd."""

from __future__ import annotations

import gzip
import zlib

import pytest

from app.core.model.delivery import Delivery
from app.core.model.endpoint import Endpoint
from app.core.model.http_exchange import HttpReply, HttpTiming
from app.core.records.attempt import BODY_LIMIT, Attempt
from app.roles.dispatch.attempts import sent
from app.roles.dispatch.body_decompression import decompress
from app.roles.dispatch.verdict import Delivered, RetryAt

NOW_MS = 1_800_000_000_000
DELIVERY = Delivery(
    id="dlv", endpoint_id="ep", event_id="evt", event_type="a.b", tenant="acme", mode="live", created_at="", body=b"{}"
)
ENDPOINT = Endpoint(id="ep", tenant="acme", mode="live", url="https://x.example/", events=("*",), profile="standard")
WORDS = b'{"error":"out of stock"}'
RAW_DEFLATE = zlib.compressobj(wbits=-15)
RAW = RAW_DEFLATE.compress(WORDS) + RAW_DEFLATE.flush()


def attempt(status: int = 500, body: bytes = b"", *, truncated: bool = False, **headers: str) -> Attempt:
    fields = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    reply = HttpReply(status=status, headers=fields, body=body, truncated=truncated, timing=HttpTiming())
    verdict = Delivered() if status == 200 else RetryAt(NOW_MS)
    return sent(DELIVERY, ENDPOINT, reply, verdict, started_ms=NOW_MS, ended_ms=NOW_MS)


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(WORDS, mtime=0)),
        ("GZIP", gzip.compress(WORDS, mtime=0)),
        ("x-gzip", gzip.compress(WORDS, mtime=0)),
        ("deflate", zlib.compress(WORDS)),
        ("deflate", RAW),
        ("identity", WORDS),
    ],
)
def test_a_compressed_body_is_shown_decompressed(encoding: str, body: bytes) -> None:
    record = attempt(body=body, content_encoding=encoding)
    assert (record.response_body, record.cut, record.remarks) == (WORDS.decode(), (), ())


@pytest.mark.parametrize(
    ("encoding", "body"), [("br", b"\x0b\x02"), ("zstd", b"\x28\xb5"), ("gzip, br", b"x"), ("gzip", b"no gzip")]
)
def test_a_body_that_cannot_be_decompressed_is_not_shown(encoding: str, body: bytes) -> None:
    record = attempt(body=body, content_encoding=encoding)
    assert record.response_body is None
    assert record.remarks == (f"its body is compressed ({encoding!r}) and not shown",)
    assert record.error == f"the endpoint answered 500; {record.remarks[0]}"


def test_a_compression_bomb_is_decompressed_only_as_far_as_it_is_shown() -> None:
    bomb = gzip.compress(bytes(60_000_000))
    assert len(bomb) < 65_536
    assert decompress(bomb, "gzip", 1000) == bytes(1000)
    record = attempt(body=bomb, content_encoding="gzip")
    assert record.cut == ("body",) and 0 < len(record.response_body or "") <= BODY_LIMIT


def test_the_beginning_of_a_compressed_body_is_shown() -> None:
    noise = bytes((n * n * 7919) % 251 for n in range(50_000))
    record = attempt(body=gzip.compress(WORDS + noise)[:20_000], truncated=True, content_encoding="gzip")
    assert (record.response_body or "").startswith(WORDS.decode())
    assert record.cut == ("body",)


@pytest.mark.parametrize("value", ["soon", "2026-01-01T00:00:00", "1e3", "-5", "x" * 500 + "\n"])
def test_an_invalid_retry_after_is_noted_in_the_attempt(value: str) -> None:
    record = attempt(429, retry_after=value)
    (remark,) = record.remarks
    assert remark.startswith("its Retry-After was not understood: '") and len(remark) < 110
    assert (record.error or "").endswith(remark)


@pytest.mark.parametrize("value", ["60", "60.5", "+60", "2026-01-01T00:00:00Z"])
def test_a_valid_retry_after_is_not_noted(value: str) -> None:
    assert attempt(429, retry_after=value).remarks == ()


def test_a_success_has_no_error() -> None:
    record = attempt(200, b"x", retry_after="soon", content_encoding="br")
    assert record.error is None and record.response_headers is None
