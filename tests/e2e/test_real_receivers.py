"""What customers really run verifies what we send: the documents' own snippets and the public libraries.

Each receiver answers 200 when the signature fits the body that it got, and 401 when not.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import aiohttp
import pytest

from app.adapters.clock import SystemClock
from app.core.errors import Unrepresentable
from app.profiles.catalog import CatalogueEntry, get, load_catalogue
from app.profiles.contract import EventView
from tests.receivers.launch import receiver

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER_SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
#: receiver → the profile that it verifies
RECEIVERS = {
    "standard": "standard",
    "bota": "bota",
    "efficlose": "efficlose",
    "recall": "recall",
    "voxscriber": "voxscriber",
    "flask": "voxscriber",
}
CATALOGUE = load_catalogue(Path(__file__).parents[2] / "schemas" / "events")

each_receiver = pytest.mark.parametrize("name", RECEIVERS)


@pytest.fixture(scope="module")
def urls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    logs = tmp_path_factory.mktemp("receivers")
    with ExitStack() as running:
        yield {name: running.enter_context(receiver(name, SECRET, logs / f"{name}.log")) for name in RECEIVERS}


@pytest.fixture
async def customers(urls: dict[str, str]) -> AsyncIterator[Customers]:
    async with aiohttp.ClientSession() as session:
        yield Customers(session, urls)


class Customers:
    """The running receivers, addressed by name."""

    def __init__(self, session: aiohttp.ClientSession, urls: dict[str, str]) -> None:
        self._session = session
        self._urls = urls

    async def status(
        self,
        name: str,
        event: EventView,
        *,
        secrets: Sequence[str] = (SECRET,),
        tamper: Callable[[bytes], bytes] = lambda body: body,
    ) -> int:
        """The receiver's answer to the event, signed with `secrets` and then tampered with."""
        profile = get(RECEIVERS[name])
        body = profile.envelope(event)
        keys = [profile.key(secret) for secret in secrets]
        headers = profile.headers(body, keys, event.id, SystemClock().now_ms() // 1000)
        async with self._session.post(
            self._urls[name], data=tamper(body), headers=[("content-type", "application/json"), *headers]
        ) as response:
            return response.status


def event(data: bytes, event_type: str = "transcription.progress") -> EventView:
    return EventView("evt_1", event_type, "2025-01-15T10:00:00Z", data)


EXAMPLES = [(name, entry) for name, profile in RECEIVERS.items() for entry in CATALOGUE[profile].values()]


@pytest.mark.parametrize(("name", "entry"), EXAMPLES, ids=[f"{name}-{entry.type}" for name, entry in EXAMPLES])
async def test_every_event_type_verifies(customers: Customers, name: str, entry: CatalogueEntry) -> None:
    for example in entry.examples:
        assert await customers.status(name, event(example, entry.type)) == 200


@each_receiver
async def test_a_changed_body_or_another_secret_does_not_verify(customers: Customers, name: str) -> None:
    sent = event(b'{"uploadId":"upl_1"}')
    assert await customers.status(name, sent, tamper=lambda body: body.replace(b"upl_1", b"upl_2")) == 401
    assert await customers.status(name, sent, secrets=[OTHER_SECRET]) == 401
    assert await customers.status(name, sent) == 200


@pytest.mark.parametrize("name", ["standard", "recall"])
async def test_a_receiver_with_the_old_secret_verifies_during_a_rotation(customers: Customers, name: str) -> None:
    assert await customers.status(name, event(b"{}"), secrets=[OTHER_SECRET, SECRET]) == 200


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


VERIFIES = "verifies"
NOT_JSON = "not JSON"
#: name → (data, what Efficlose's receiver does: it verifies, or we refuse for this reason)
NASTY: dict[str, tuple[bytes, str]] = {
    "whole float": (b'{"n":1.0}', VERIFIES),
    "zero float": (b"[0.0,-0.0,-0,0e9]", VERIFIES),
    "1e21": (b"[1e21,1E21,1e+21,999999999999999999999.0]", VERIFIES),
    "1e20": (b"[1e20,1.5e20]", VERIFIES),
    "1e-7": (b"[1e-7,0.0000001,1e-6,0.00001]", VERIFIES),
    "0.1 + 0.2": (b"0.30000000000000004", VERIFIES),
    "smallest": (b"5e-324", VERIFIES),
    "largest": (b"1.7976931348623157e308", VERIFIES),
    "long fraction": (b"0.12345678901234567890123456789", VERIFIES),
    "too large": (b'{"n":1e400}', "beyond JavaScript's range"),
    "too small": (b'{"n":1e-400}', "would become 0"),
    "2^53": (b"[9007199254740992,-9007199254740992]", VERIFIES),
    "2^53 + 1": (b'{"id":9007199254740993}', "would become 9007199254740992"),
    "2^53 + 2": (b"9007199254740994", VERIFIES),
    "snowflake": (b"1234567890123456789", "would become 1234567890123456800"),
    "2^64": (b"18446744073709551616", "would become 18446744073709552000"),
    "10^24": (b"1000000000000000000000000", VERIFIES),
    "index keys": (b'{"b":1,"10":2,"9":3,"a":4,"0":5}', VERIFIES),
    "nearly index keys": (b'{"z":0,"01":1,"1.0":2,"-1":3,"4294967295":4,"4294967294":5,"1":6}', VERIFIES),
    "escaped index key": (b'{"a":0,"\\u0032":1,"1\\u0030":2}', VERIFIES),
    "duplicate keys": (b'{"a":1,"b":2,"a":{"c":3}}', VERIFIES),
    "duplicate index keys": (b'{"a":1,"2":1,"1":2,"\\u0032":3}', VERIFIES),
    "__proto__": (b'{"__proto__":{"admin":true},"a":1,"__proto__":2}', VERIFIES),
    "constructor": (b'{"constructor":{"prototype":{}},"toString":1,"toJSON":2,"hasOwnProperty":3}', VERIFIES),
    "empty key": (b'{"":{"":[]}}', VERIFIES),
    "U+2028": ('["\u2028\u2029","\\u2028"]'.encode(), VERIFIES),
    "lone surrogates": (b'["\\uD800","\\udc00 x","\\uDE00\\uD83D","\\ud800\\u0041"]', VERIFIES),
    "surrogate key": (b'{"\\uDFFF":"\\uD83D\\uDE00"}', VERIFIES),
    "emoji": ('["😀","\\ud83d\\ude00","👩‍👩‍👧"]'.encode(), VERIFIES),
    "NUL": (b'"\\u0000\\u001F\\u007f"', VERIFIES),
    "escapes": (b'"\\/\\b\\f\\n\\r\\t\\"\\\\\\u00e9\\u0022"', VERIFIES),
    "DEL and C1": ('"\x7f\x80\x9f\ufeff\ufffe"'.encode(), VERIFIES),
    "white space": (b' \t\r\n{ "a" : [ 1 , 2 ] } \n', VERIFIES),
    "null": (b"null", VERIFIES),
    "scalar": (b'"text"', VERIFIES),
    "big array": (b"[" + b",".join(b"%d.0" % n for n in range(30_000)) + b"]", VERIFIES),
    "big object": (b"{" + b",".join(b'"%d":%d' % (n, n) for n in range(9_000, 0, -1)) + b"}", VERIFIES),
    "depth 100": (nested(100), VERIFIES),
    "depth 1000": (nested(1_000), VERIFIES),
    "depth 1001": (nested(1_001), "nested more than 1000 deep"),
    "depth 100000": (nested(100_000), "nested more than 1000 deep"),
    "byte order mark": (b"\xef\xbb\xbf{}", NOT_JSON),
    "trailing garbage": (b"{} x", NOT_JSON),
    "second document": (b"{}{}", NOT_JSON),
    "breaking out": (b'{}},{"data":{}', NOT_JSON),
    "NaN": (b'{"n":NaN}', NOT_JSON),
    "Infinity": (b"[-Infinity]", NOT_JSON),
    "leading zero": (b"[01]", NOT_JSON),
    "trailing comma": (b"[1,]", NOT_JSON),
    "single quotes": (b"{'a':1}", NOT_JSON),
    "bare control character": (b'"\x00"', NOT_JSON),
    "not UTF-8": (b'"\xff"', NOT_JSON),
    "UTF-8 surrogate": (b'"\xed\xa0\x80"', NOT_JSON),
    "nothing": (b"", NOT_JSON),
}
VALID = [key for key, (_, expected) in NASTY.items() if expected != NOT_JSON]


@pytest.mark.parametrize("key", NASTY)
async def test_efficlose_receivers_verify_or_the_event_is_refused(customers: Customers, key: str) -> None:
    data, expected = NASTY[key]
    if expected == VERIFIES:
        assert await customers.status("efficlose", event(data)) == 200
    else:
        with pytest.raises(Unrepresentable) as caught:
            get("efficlose").envelope(event(data))
        assert expected in caught.value.detail


@pytest.mark.parametrize("name", [name for name in RECEIVERS if name != "efficlose"])
@pytest.mark.parametrize("key", VALID)
async def test_raw_bodies_verify_whatever_they_hold(customers: Customers, name: str, key: str) -> None:
    sent = event(NASTY[key][0])
    # Python's json has a recursion limit: Flask verifies the signature, and then fails to parse so deep a body.
    too_deep_to_parse = name == "flask" and key in ("depth 1000", "depth 1001", "depth 100000")
    assert await customers.status(name, sent) == (500 if too_deep_to_parse else 200)
    assert await customers.status(name, sent, tamper=lambda body: body.replace(b"progress", b"progresS")) == 401
