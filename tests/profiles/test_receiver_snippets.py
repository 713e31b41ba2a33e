"""docs/receivers.md: its snippets verify, drop what was seen, and tell gaps and late events; both tell the same."""

from __future__ import annotations

import json
import runpy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.adapters.clock import SystemClock
from app.profiles.catalog import get
from tests.receivers.launch import HERE, Oracle, oracle

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
DOCUMENT = Path(__file__).parents[2] / "docs" / "receivers.md"
with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(str(HERE / "snippets"))  # the inbox imports the file that verifies
    Inbox: Any = runpy.run_path(str(HERE / "snippets" / "inbox.py"))["Inbox"]
#: (ordering key, sequence)
Arrival = tuple[str, int]
Request = tuple[dict[str, str], str]


def request(
    event_id: str,
    key: str | None = None,
    sequence: int | None = None,
    *,
    secrets: tuple[str, ...] = (SECRET,),
    ago_s: int = 0,
) -> Request:
    """A request as the profile `standard` signs it."""
    profile, body = get("standard"), f'{{"id":"{event_id}","data":{{}}}}'
    at_s = SystemClock().now_ms() // 1000 - ago_s
    headers = dict(profile.headers(body.encode(), [profile.key(each) for each in secrets], event_id, at_s))
    if key is not None:
        headers |= {"webhook-ordering-key": key, "webhook-sequence": str(sequence)}
    return headers, body


def python(requests: list[Request]) -> list[list[Any]]:
    """[status, verdict] of each, from an inbox of its own."""
    inbox, answers = Inbox(SECRET), []
    for headers, body in requests:
        told: list[str] = []
        status = inbox.receive(headers, body.encode(), lambda event, verdict, told=told: told.append(verdict))
        answers.append([status, told[0] if told else None])
    return answers


@pytest.fixture(scope="module")
def node() -> Iterator[Oracle]:
    with oracle("inbox_oracle.js") as running:
        yield running


def both(node: Oracle, requests: list[Request]) -> list[list[Any]]:
    """What Python says; Node says the same."""
    answers = python(requests)
    assert ask(node, requests) == answers
    return answers


def ask(node: Oracle, requests: list[Request]) -> Any:
    return json.loads(node.ask([{"secret": SECRET, "requests": requests}])[0])


def test_signatures(node: Oracle) -> None:
    headers, body = request("e1", "o", 1)
    wrong: list[Mapping[str, str]] = [
        headers | {"webhook-id": "e2"},
        headers | {"webhook-timestamp": str(int(headers["webhook-timestamp"]) + 1)},
        headers | {"webhook-signature": ""},
        headers | {"webhook-signature": "v1,ä"},
        {},
        {name: text for name, text in headers.items() if name != "webhook-signature"},
        headers | {"webhook-timestamp": "soon"},
        request("e1", secrets=(OTHER,))[0],
        request("e1", ago_s=301)[0],
    ]
    requests = [(dict(each), body) for each in wrong] + [(headers, body + " ")]
    assert both(node, requests) == [[401, None]] * len(requests)
    rotated = request("e1", secrets=(OTHER, SECRET))
    assert both(node, [rotated, (headers, body)]) == [[200, "without order"], [200, None]]


def test_in_order_a_gap_and_late(node: Oracle) -> None:
    arrivals = [("e1", 1), ("e2", 2), ("e5", 5), ("e5", 5), ("e3", 3), ("e6", 6), ("e1", 1), ("e4", 4)]
    answers = both(node, [request(event_id, "o", sequence) for event_id, sequence in arrivals])
    assert [verdict for _, verdict in answers] == [
        "in order",
        "in order",
        "gap of 2",
        None,
        "late",
        "in order",
        None,
        "late",
    ]
    assert {status for status, _ in answers} == {200}


def test_failures_are_not_cached() -> None:
    inbox = Inbox(SECRET)
    headers, body = request("e1", "o", 1)

    def fail(event: object, verdict: str) -> None:
        raise OSError("the database is away")

    with pytest.raises(OSError, match="away"):
        inbox.receive(headers, body.encode(), fail)
    told: list[str] = []
    assert inbox.receive(headers, body.encode(), lambda event, verdict: told.append(verdict)) == 200
    assert told == ["in order"]


def test_memory_is_bounded() -> None:
    inbox = Inbox(SECRET, remember=3)
    told: list[str] = []
    for event_id in ("e1", "e2", "e3", "e4", "e4", "e1"):
        headers, body = request(event_id)
        inbox.receive(headers, body.encode(), lambda event, verdict: told.append(event["id"]))
    assert told == ["e1", "e2", "e3", "e4", "e1"], "the oldest was forgotten"


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 9)), max_size=30))
def test_shuffled_duplicated_and_dropped_events_are_distinguished(node: Oracle, arrivals: list[Arrival]) -> None:
    answers = both(node, [request(f"{key}{sequence}", key, sequence) for key, sequence in arrivals])
    told = [(arrival, verdict) for arrival, (_, verdict) in zip(arrivals, answers, strict=True) if verdict is not None]
    assert sorted(arrival for arrival, _ in told) == sorted(set(arrivals)), "each once"
    for key in "ab":
        mine = [(sequence, verdict) for (owner, sequence), verdict in told if owner == key]
        if not mine:
            continue
        first, received = mine[0][0], {sequence for sequence, _ in mine}
        missing = set(range(first, max(received) + 1)) - received
        gaps = sum(int(verdict.removeprefix("gap of ")) for _, verdict in mine if verdict.startswith("gap"))
        filled = [sequence for sequence, verdict in mine if verdict == "late" and sequence > first]
        assert gaps - len(filled) == len(missing), "what is missing is what was told and never came"


@given(st.lists(st.sampled_from("abc"), max_size=30))
def test_an_undisturbed_stream_is_in_order(node: Oracle, keys: list[str]) -> None:
    counts: dict[str, int] = {}
    requests = []
    for key in keys:
        counts[key] = counts.get(key, 0) + 1
        requests.append(request(f"{key}{counts[key]}", key, counts[key]))
    assert both(node, requests) == [[200, "in order"]] * len(keys)


@pytest.mark.parametrize("name", ["inbox.py", "inbox.js"])
def test_the_document_shows_the_tested_code(name: str) -> None:
    assert (HERE / "snippets" / name).read_text("utf-8") in DOCUMENT.read_text("utf-8")
