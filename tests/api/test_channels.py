"""Channels over the API: of an endpoint, of an event, and in the story of an event."""

from __future__ import annotations

from typing import Any

import pytest

from app.core.errors import CommandRefused
from tests.api.read_stage import Stage


@pytest.fixture
async def stage() -> Stage:
    return Stage()


async def test_an_endpoint_has_channels_until_they_are_cleared(stage: Stage) -> None:
    assert (await stage.ask("webhooks.patch", {"channels": ["eu", "us"]}, of="ep"))["channels"] == ["eu", "us"]
    assert (await stage.ask("webhooks.patch", {"description": "x"}, of="ep"))["channels"] == ["eu", "us"]
    assert (await stage.ask("webhooks.patch", {"channels": None}, of="ep"))["channels"] is None


@pytest.mark.parametrize("channels", [["a b"], ["ä"], ["a,b"]])
async def test_a_bad_channel_is_refused_with_its_field(stage: Stage, channels: list[str]) -> None:
    with pytest.raises(CommandRefused) as caught:
        await stage.ask("webhooks.patch", {"channels": channels}, of="ep")
    assert caught.value.detail.startswith(f"channels: {channels[0]!r}")


async def test_the_story_of_an_event_names_the_endpoints_of_other_channels(stage: Stage) -> None:
    event = stage.event("e1", channels=["eu"])
    stage.row(event, state="delivered")
    stage.endpoint("us", channels=("us", "moon"))
    stage.endpoint("eu", channels=("eu",))
    stage.endpoint("deaf", channels=("us",), events=("c.*",))
    found = await stage.ask("events.get", of="e1")
    shown: dict[str, Any] = {each["endpoint"]: each for each in found["endpoints"]}
    assert {name: each["why"] for name, each in shown.items()} == {
        "ep": "matched",
        "us": "other_channels",
        "eu": "pending",
        "deaf": "not_subscribed",
    }
    assert shown["us"]["explanation"] == "The event carries none of the endpoint's channels: us, moon."
    assert found["channels"] == ["eu"]


async def test_an_event_without_deliveries_is_unmatched_where_only_endpoints_with_channels_subscribe(
    stage: Stage,
) -> None:
    stage.endpoint(channels=("us",))
    stage.indexed(stage.event("e1"))
    assert [each["outcome"] for each in (await stage.ask("events.list"))["data"]] == ["unmatched"]
