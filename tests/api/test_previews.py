"""Previews: the request that would be sent, for an event of the caller's, with the endpoint's settings or others."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from app.api.problems import ApiError
from app.core.errors import CommandRefused
from app.core.model.endpoint import Endpoint
from app.core.model.receiver_auth import MASK
from tests.api.read_stage import Stage

EVENT = {"type": "order.paid", "id": "given", "data": {"total": 5, "card": "4242"}}


class Minter:
    """`app.ports.secrets.TokenGenerator`, of ids alone."""

    def id(self, prefix: str) -> str:
        return f"{prefix}_1"


@pytest.fixture
async def stage() -> Stage:
    made = Stage()
    made.services = msgspec.structs.replace(made.services, minter=Minter())
    return made


def body(answer: dict[str, Any]) -> Any:
    return json.loads(answer["request"]["body"])


async def test_a_given_event_is_shown_as_the_endpoint_would_get_it(stage: Stage) -> None:
    stage.endpoint(envelope="raw", transform="{total: data.total}", headers={"x-token": MASK, "x-plain": "p"})
    answer = await stage.ask("previews.show", {"event": EVENT}, of="ep")
    assert (answer["event_id"], answer["event_type"], answer["origin"]) == ("given", "order.paid", "given")
    assert body(answer) == {"total": 5} and answer["error"] is None
    headers = answer["request"]["headers"]
    assert headers["webhook-id"] == "given" and headers["webhook-signature"].startswith("v1,")
    assert (headers["x-plain"], headers["x-token"]) == ("p", MASK)
    assert stage.commands == [] and not any(stage.log.partitions.values()), "nothing is stored or sent"


async def test_settings_are_tried_without_being_stored(stage: Stage) -> None:
    tried = {"event": EVENT, "envelope": "cloudevents-structured", "include_fields": ["total"], "transform": None}
    assert body(await stage.ask("previews.show", tried, of="ep"))["data"] == {"total": 5}
    assert body(await stage.ask("previews.show", {"event": EVENT}, of="ep"))["data"] == EVENT["data"]
    endpoint = stage.feed.directory.endpoint("ep")
    assert endpoint is not None and endpoint.envelope == "profile"


@pytest.mark.parametrize(
    ("settings", "reason", "words"),
    [
        ({"transform": "data.totl"}, "transform_failed", "its result is null"),
        ({"transform": "sum(data.total)"}, "transform_failed", "sum() takes array-number, and the event has number"),
    ],
)
async def test_a_transform_that_fails_is_explained(stage: Stage, settings: Any, reason: str, words: str) -> None:
    answer = await stage.ask("previews.show", {"event": EVENT, **settings}, of="ep")
    assert answer["request"] is None and answer["error"]["reason"] == reason and words in answer["error"]["detail"]


async def test_data_that_the_profile_cannot_carry_is_explained(stage: Stage) -> None:
    stage.endpoint(profile="efficlose")
    event = {"type": "a.b", "data": 9007199254740993}
    answer = await stage.ask("previews.show", {"event": event}, of="ep")
    assert answer["request"] is None and answer["error"]["reason"] == "unrepresentable"


async def test_faults_of_settings_and_events_are_refused_with_their_places(stage: Stage) -> None:
    with pytest.raises(ApiError) as caught:
        await stage.ask("previews.show", {"transform": "nope(", "include_fields": ["a..b"]}, of="ep")
    assert caught.value.status == 422
    assert sorted(str(each.pointer) for each in caught.value.errors) == ["/include_fields", "/transform"]
    for wrong in ({"event": {"data": 1}}, {"event": EVENT, "event_id": "e1"}):
        assert await stage.refused("previews.show", wrong, of="ep") == (422, "invalid")
    large = {"event": {"type": "a.b", "data": "x" * 20_000}}
    assert await stage.refused("previews.show", large, of="ep") == (413, "too_large")


@pytest.mark.parametrize("operation", ["webhooks.patch", "previews.show"])
async def test_faults_of_an_endpoints_settings_have_their_places(stage: Stage, operation: str) -> None:
    with pytest.raises(ApiError) as caught:
        await stage.ask(operation, {"transform": "a[", "include_fields": [""]}, of="ep")
    assert sorted(str(each.pointer) for each in caught.value.errors) == ["/include_fields", "/transform"]
    assert stage.commands == []


@pytest.mark.parametrize(
    ("settings", "more", "words"),
    [
        ({"transform": "data"}, {"envelope": "thin"}, "transform: the envelope thin has no data"),
        ({"include_fields": ("a",)}, {"envelope": "thin"}, "include_fields: the envelope thin has no data"),
        ({"headers": {"Ce-Source": "x"}}, {"envelope": "cloudevents-binary"}, "headers: Ce-Source is set by"),
    ],
)
async def test_settings_that_contradict_an_envelope_are_refused(
    stage: Stage, settings: dict[str, Any], more: dict[str, Any], words: str
) -> None:
    stage.endpoint(**settings)
    with pytest.raises(CommandRefused, match=words):
        await stage.ask("webhooks.patch", more, of="ep")
    assert (await stage.ask("webhooks.patch", {"envelope": "raw"}, of="ep"))["envelope"] == "raw"


async def test_an_event_that_kafka_has_is_shown(stage: Stage) -> None:
    stage.indexed(stage.event("e1", data={"n": 1}))
    stage.indexed(stage.event("e2", data={"n": 2}))
    answer = await stage.ask("previews.show", {"event_id": "e1", "envelope": "thin"}, of="ep")
    assert (answer["origin"], answer["event_id"]) == ("stored", "e1")
    assert body(answer)["url"] == "/v1/events/e1?partition=0&offset=0"
    assert await stage.refused("previews.show", {"event_id": "e3"}, of="ep") == (404, "not_found")
    assert await stage.refused("previews.show", {"event_id": "\x00"}, of="ep") == (404, "not_found")


async def test_events_of_others_are_not_shown(stage: Stage) -> None:
    theirs = stage.event("e1", tenant="other")
    stage.indexed(theirs, tenant="other")
    assert await stage.refused("previews.show", {"event_id": "e1"}, of="ep") == (404, "not_found")
    stage.indexed(theirs)  # an index that disagrees with the log
    assert await stage.refused("previews.show", {"event_id": "e1"}, of="ep") == (404, "not_found")


async def test_the_newest_event_of_the_subscription_is_shown_or_else_an_example(stage: Stage) -> None:
    stage.endpoint(events=("order.*",))
    answer = await stage.ask("previews.show", {}, of="ep")
    assert answer["origin"] == "example" and body(answer)["data"] == {"test": True}
    for id_, type_ in (("e1", "order.paid"), ("e2", "order.sent"), ("e3", "user.created")):
        stage.indexed(stage.event(id_, type=type_), event_type=type_)
    answer = await stage.ask("previews.show", None, of="ep")
    assert (answer["origin"], answer["event_id"]) == ("stored", "e2")
    answer = await stage.ask("previews.show", {"type": "order.paid"}, of="ep")
    assert (answer["origin"], answer["event_id"]) == ("stored", "e1")
    answer = await stage.ask("previews.show", {"type": "order.gone"}, of="ep")
    assert (answer["origin"], answer["event_type"]) == ("example", "order.gone")


async def test_an_endpoint_whose_secret_cannot_be_opened_has_no_preview(stage: Stage) -> None:
    endpoint: Endpoint = stage.endpoint()
    secret = msgspec.structs.replace(endpoint.secrets[0], key_id="gone")
    stage.endpoint(secrets=(secret,))
    assert await stage.refused("previews.show", {"event": EVENT}, of="ep") == (409, "secret_unreadable")
