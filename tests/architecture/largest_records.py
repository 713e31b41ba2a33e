"""Values of the largest sizes that records can have."""

from __future__ import annotations

from hypothesis import strategies as st

from app.core.model.delivery import Delivery
from app.core.model.endpoint import Endpoint
from app.core.model.http_exchange import HttpFailure, HttpOutcome, HttpReply, HttpTiming
from app.roles.dispatch.verdict import Dead, Delivered, RetryAt, Verdict
from app.runtime.topics import topics_of
from app.settings import Settings

MAX_EVENT = 1_500_000


TOPICS = topics_of(Settings(max_event_bytes=MAX_EVENT))


#: what a record's own frame and that of its batch take
FRAME = 200


NOW_MS = 1_800_000_000_000


#: escapes of two and six bytes, two to four bytes of UTF-8, and half a character
WORST = st.sampled_from(["a", '"', "\x00", "é", "\ufffd", "😀"])


HALF = st.sampled_from(["\ud800", "\udcff", "\x00"])


def long_text(most: int, characters: st.SearchStrategy[str] = WORST) -> st.SearchStrategy[str]:
    """As long as it may be, more often than not."""
    return st.builds(lambda character, length: character * length, characters, st.just(most) | st.integers(0, most))


SHORT = long_text(1024)


DELIVERIES = st.builds(
    Delivery,
    id=SHORT,
    endpoint_id=SHORT,
    event_id=SHORT,
    event_type=SHORT,
    tenant=SHORT,
    mode=st.just("live"),
    created_at=SHORT,
    body=st.just(b"x" * MAX_EVENT),
    accepted_at_ms=st.just(10**18),
    attempts=st.just(10**18),
    sequence=st.just(10**18),
    ordering_key=long_text(512),
    replay_id=SHORT,
    traceparent=SHORT,
    attributes=SHORT,
    arrival=st.just(10**18),
    revision=st.just(10**18),
    source=SHORT,
)


REPLIES = st.builds(
    HttpReply,
    status=st.just(500),
    body=st.binary(max_size=10) | st.sampled_from([b"\xff" * 65_536, b"\0" * 65_536]),
    headers=st.lists(st.tuples(*[long_text(7_800, WORST | HALF)] * 2), max_size=4).map(lambda some: tuple(some * 50)),
    truncated=st.booleans(),
    timing=st.just(HttpTiming()),
)


REFUSALS = st.builds(
    HttpFailure, kind=st.just("tls"), detail=long_text(1_000_000, WORST | HALF), timing=st.just(HttpTiming())
)


OUTCOMES: st.SearchStrategy[HttpOutcome] = REPLIES | REFUSALS


VERDICTS: st.SearchStrategy[Verdict] = st.sampled_from([Delivered(), RetryAt(NOW_MS + 5000), Dead("exhausted")])


ENDPOINT = Endpoint(
    id="ep",
    tenant="acme",
    mode="live",
    url="https://x.example/" + "y" * 2000,
    events=("*",),
    profile="standard",
    description="\x00" * 1024,
)
