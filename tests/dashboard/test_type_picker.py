"""Forms offer the event types that were seen lately, and a test begins with a type that the endpoint receives."""

from __future__ import annotations

import re

import msgspec
import pytest

from app.core.errors import Unavailable
from app.core.readmodel.rows import EventRow
from tests.dashboard.stage import Browser, Stage

LIVE = "/ui/t/acme/live"


def seen(stage: Stage, *types: str, tenant: str = "acme") -> None:
    """Events of these types, oldest first."""
    for number, event_type in enumerate(types, len(stage.reads.index)):
        row = EventRow(
            partition=0,
            offset=number,
            at_ms=1000 + number,
            tenant=tenant,
            mode="live",
            event_id=f"e{number}",
            event_type=event_type,
            result="rejected" if event_type == "bad" else "unmatched",
        )
        stage.reads.index.append(row)


def offered(page: str) -> list[str]:
    lists = re.findall(r"<datalist[^>]*>(.*?)</datalist>", page, re.DOTALL)
    assert len(lists) == 1
    return re.findall(r'<option value="([^"]*)">', lists[0])


def preselected(page: str) -> str:
    (field,) = re.findall(r'<input name="type"[^>]* value="([^"]*)"', page)
    return str(field)


async def test_forms_offer_the_types_of_the_latest_events_first(stage: Stage, acme: Browser) -> None:
    stage.endpoint()
    seen(stage, "order.paid", "order.sent", "order.paid", "bad")
    seen(stage, "of.another", tenant="other")
    for path in ("events/new", "replays/new", "endpoints/ep_1"):
        _, page, _ = await acme.get(f"{LIVE}/{path}")
        types = offered(page)
        assert types[:2] == ["order.paid", "order.sent"], path
        assert "user.created" in types and "of.another" not in types and "bad" not in types


async def test_without_the_read_model_forms_offer_declared_types(
    stage: Stage, acme: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unavailable(*_: object, **__: object) -> None:
        raise Unavailable("no database")

    monkeypatch.setattr(stage.reads, "recent_types", unavailable)
    _, page, _ = await acme.get(f"{LIVE}/events/new")
    assert "user.created" in offered(page)


async def test_a_test_begins_with_a_type_that_the_endpoint_subscribes_to(stage: Stage, acme: Browser) -> None:
    stage.endpoint(events=("user.deleted",))
    assert preselected((await acme.get(f"{LIVE}/endpoints/ep_1"))[1]) == "user.deleted"
    stage.endpoint(events=("order.*",))
    seen(stage, "user.created", "order.sent", "order.paid", "invoice.paid")
    assert preselected((await acme.get(f"{LIVE}/endpoints/ep_1"))[1]) == "order.paid"


async def test_everything_does_not_include_types_that_a_profile_sends_on_request_only(
    stage: Stage, acme: Browser
) -> None:
    bota = msgspec.structs.replace(stage.endpoint(events=("*",)), profile="bota")
    stage.feed.directory.put_endpoint(bota)
    seen(stage, "recording.created", "device.offline")
    types = offered((await acme.get(f"{LIVE}/endpoints/ep_1"))[1])
    assert types[0] == "recording.created" and types.index("device.offline") > types.index("summary.completed")
    stage.feed.directory.put_endpoint(msgspec.structs.replace(bota, events=("device.*",)))
    assert preselected((await acme.get(f"{LIVE}/endpoints/ep_1"))[1]) == "device.offline"
