"""An endpoint with channels gets the events that carry one of them; one without gets every event."""

from __future__ import annotations

from typing import Any

import pytest

from app.core.directory import Directory
from tests.roles.fanout.planning import keys
from tests.roles.fanout.test_plan_filters import LARGE, endpoint, event, plan


def directory(**fields: Any) -> Directory:
    """An endpoint for each combination of channels, and one without."""
    where = Directory()
    channels: dict[str, tuple[str, ...] | None] = {"all": None, "both": ("eu", "us"), "eu": ("eu",), "us": ("us",)}
    for id_, wanted in channels.items():
        where.put_endpoint(endpoint(id_, channels=wanted, **fields))
    return where


@pytest.mark.parametrize(
    ("carried", "receivers"),
    [
        (None, "all"),
        ([], "all"),
        (["eu"], "all both eu"),
        (["asia", "us"], "all both us"),
        (["eu", "us"], "all both eu us"),
        (["EU"], "all"),
    ],
)
def test_events_reach_endpoints_that_share_a_channel(carried: list[str] | None, receivers: str) -> None:
    planned = plan(directory(), event(0, 1, channels=carried))
    assert keys(planned) == [each.encode() for each in receivers.split()]
    assert (planned.accepted, planned.filtered, planned.rejections) == (1, 0, [])


def test_an_event_of_channels_that_no_endpoint_has_is_unmatched() -> None:
    where = directory()
    where.remove_endpoint("all")
    planned = plan(where, event(0, 1, channels=["asia"]))
    assert (keys(planned), planned.unmatched) == ([], 1)


def test_the_filter_decides_about_events_of_the_endpoints_channels_only() -> None:
    planned = plan(directory(filter=LARGE), event(0, {"total": 5}, channels=["eu"]))
    assert (keys(planned), planned.filtered) == ([], 3)


def test_an_event_with_a_bad_channel_is_rejected() -> None:
    assert plan(directory(), event(0, 1, channels=["a b"])).rejections == ["bad_channels"]
