"""Sealed deliveries: opened for their request alone, and ended without one when the subject is erased."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.adapters.secrets.subject_vault import AesSubjectKeeper, AesSubjectVault
from app.core import outcomes
from app.core.model.event import Event
from app.core.model.http_exchange import HttpReply, HttpTiming
from app.core.records import registry
from app.core.records.command import EraseSubject
from app.core.topics.names import RUNGS, TopicName
from app.roles.registry import erasures
from tests.fakes.log import MemoryRecord
from tests.roles.dispatch.dispatch_stage import KEYRING, Stage, rung, url_of

WRITTEN = (
    TopicName.DELIVERIES,
    TopicName.DELIVERIES_DEAD,
    TopicName.ATTEMPTS,
    TopicName.ENDPOINTS_SIGNALS,
    *(rung(name) for name, _ in RUNGS),
)
BODY = b'{"type":"a.b","data":{"n":"Ada"}}'


class Subject:
    """The registry beside a stage."""

    def __init__(self, stage: Stage) -> None:
        self.directory, self.keeper = stage.feed.directory, AesSubjectKeeper(KEYRING)
        self.vault = AesSubjectVault(lambda: self.directory.erasures, KEYRING)
        self._apply(erasures.first_keys(self.directory, 1, self.keeper))

    def erase(self, at_ms: int = 1) -> None:
        action = EraseSubject(self.vault.erasure_id("acme", "live", "ada"), "acme", "live")
        self._apply(erasures.decide(action, self.directory, at_ms, self.keeper))

    def _apply(self, changes: Any) -> None:
        for change in changes:
            registry.apply(self.directory, change.key, registry.encode(change.value))

    def sealed(self, event: str = "e1", body: bytes = BODY) -> dict[str, Any]:
        """The fields of a delivery of an event about the subject."""
        about = Event(
            id=event, type="a.b", tenant="acme", mode="live", created_at="", body=body, format="native", subject="ada"
        )
        value, leaf = self.vault.seal(about, 10**15)
        return {"body": value, "sealed": leaf}


def texts(records: list[MemoryRecord]) -> bytes:
    return b"\n".join((each.value or b"") + b"".join(text or b"" for _, text in each.headers) for each in records)


async def test_the_request_has_the_data_and_the_attempt_has_nothing_of_it(stage: Stage) -> None:
    stage.endpoint("a", schedule=(0.0, 60.0))
    subject = Subject(stage)
    echo = HttpReply(status=500, headers=(("x-echo", "Ada"),), body=BODY, truncated=False, timing=HttpTiming())
    stage.sender.script(url_of("a"), echo)
    await stage.start()
    stage.put("a", **subject.sealed())
    (attempt,) = await stage.attempts(1)
    assert (attempt["status"], attempt["result"]) == (500, "http_5xx")
    assert "Ada" not in json.dumps(attempt) and "record" in attempt["cut"]
    (request,) = stage.sender.to(url_of("a"))
    assert json.loads(request.body)["data"] == {"n": "Ada"}
    waiting = await stage.log.seen(rung("1m"), 1) or []
    assert b"Ada" not in texts(waiting)


async def test_an_erasure_ends_what_waits_without_a_request(stage: Stage) -> None:
    stage.endpoint("a")
    stage.endpoint("b", ordering="fifo")
    subject = Subject(stage)
    old = subject.sealed()
    subject.erase()
    await stage.start()
    stage.put("a", **old, attempts=2)
    stage.put("b", **old, arrival=3, ordering_key="k", sequence=1)
    stage.put("a", "e2", **subject.sealed("e2"))
    attempts = {(each["endpoint_id"], each["event_id"]): each for each in await stage.attempts(3)}
    for endpoint_id in ("a", "b"):
        ended = attempts[endpoint_id, "e1"]
        assert (ended["state"], ended["reason"], ended["result"]) == ("dead", "erased", "erased")
    assert attempts["a", "e1"]["attempt"] == 2 and attempts["a", "e2"]["result"] == "ok"
    dead = await stage.log.seen(TopicName.DELIVERIES_DEAD, 2)
    assert {each.header("reason") for each in dead} == {"erased"}
    assert stage.events("a") == ["e2"] and stage.events("b") == []
    signals = [json.loads(each.value or b"") for each in stage.log.of(TopicName.ENDPOINTS_SIGNALS)]
    assert not [each for each in signals if each["delivery_id"] == "dlv_e1"], "none of the endpoint's health"
    (settled,) = await stage.log.seen(TopicName.DELIVERIES_ORDERED, 1)
    assert settled.header("outcome") == "dead", "the next one of its key follows"
    assert outcomes.outcome_of("erased") is not None


@pytest.mark.parametrize("fields", [{"transform": "abs(data.n)"}, {"profile": "recall"}])
async def test_no_sentence_about_a_failure_quotes_the_data(stage: Stage, fields: dict[str, Any]) -> None:
    stage.endpoint("a", **fields)
    subject = Subject(stage)
    await stage.start()
    stage.put("a", **subject.sealed(body=b'{"type":"a.b","data":{"bot":"Ada","n":"Ada","data":"Ada"}}'))
    await stage.attempts(1)
    assert b"Ada" not in texts([each for topic in WRITTEN for each in stage.log.of(topic)])


async def test_a_body_that_was_changed_is_not_sent(stage: Stage) -> None:
    stage.endpoint("a", schedule=(0.0,))
    subject = Subject(stage)
    await stage.start()
    sealed = subject.sealed()
    stage.put("a", body=sealed["body"][:-1], sealed=sealed["sealed"])
    (attempt,) = await stage.attempts(1)
    assert attempt["result"] == "not_sent" and not stage.sender.to(url_of("a"))


async def test_a_body_that_did_not_fit_into_a_topic_is_named_as_such(stage: Stage) -> None:
    stage.endpoint("a")
    subject = Subject(stage)
    await stage.start()
    stage.put("a", body=b"", sealed=subject.sealed()["sealed"], omitted=300_000)
    (attempt,) = await stage.attempts(1)
    assert (attempt["state"], attempt["reason"]) == ("dead", "unrepresentable")


async def test_without_a_tree_of_keys_nothing_is_taken_for_erased(stage: Stage) -> None:
    stage.endpoint("a", schedule=(0.0, 60.0))
    await stage.start()
    stage.put("a", body=b"?" * 40, sealed="0" * 12)
    (attempt,) = await stage.attempts(1)
    assert (attempt["result"], attempt["state"]) == ("not_sent", "retrying")
