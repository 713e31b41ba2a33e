"""An endpoint's uid over the API: it works wherever the id does, for its own tenant and mode alone."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from app.api.problems import refused
from app.api.request import Caller
from app.core.errors import CommandRefused
from app.core.model.tenant import ApiKey
from tests.api.read_stage import Stage

OTHERS = [
    Caller.of(ApiKey(id="k2", tenant="acme", mode="test", digest="", last4="")),
    Caller.of(ApiKey(id="k3", tenant="other", mode="live", digest="", last4="")),
]


@pytest.fixture
async def stage() -> Stage:
    made = Stage()
    made.endpoint(uid="shop")
    made.endpoint("ep_2", mode="test", uid="shop")
    made.endpoint("ep_3")
    return made


async def test_a_path_takes_the_id_and_the_uid(stage: Stage) -> None:
    for name in ("ep", "shop"):
        answer = await stage.ask("webhooks.get", of=name)
        assert (answer["id"], answer["uid"]) == ("ep", "shop")


async def test_a_change_may_change_the_uid_that_it_was_addressed_with(stage: Stage) -> None:
    assert (await stage.ask("webhooks.patch", {"uid": "store"}, of="shop"))["uid"] == "store"
    assert await stage.refused("webhooks.get", of="shop") == (404, "not_found")
    assert (await stage.ask("webhooks.patch", {"uid": None}, of="store"))["uid"] is None
    assert await stage.refused("webhooks.get", of="store") == (404, "not_found")


async def test_a_deleted_endpoint_leaves_its_uid(stage: Stage) -> None:
    await stage.ask("webhooks.delete", of="shop")
    assert stage.feed.directory.endpoint("ep") is None
    assert (await stage.ask("webhooks.patch", {"uid": "shop"}, of="ep_3"))["uid"] == "shop"


async def test_a_taken_uid_is_a_conflict_that_names_the_field(stage: Stage) -> None:
    with pytest.raises(CommandRefused) as caught:
        await stage.ask("webhooks.patch", {"uid": "shop"}, of="ep_3")
    problem = refused(caught.value)
    assert (problem.status, problem.code) == (409, "uid_taken")
    assert problem.detail == "uid: shop is that of endpoint ep: choose another one"
    assert [each.pointer for each in problem.errors] == ["/uid"]


async def test_lists_are_narrowed_by_the_uid(stage: Stage) -> None:
    wanted = stage.row(stage.event("e1"))
    stage.row(stage.event("e2"), endpoint="ep_3")
    for name in ("ep", "shop"):
        listed = await stage.ask("deliveries.list", endpoint=name)
        assert [each["id"] for each in listed["data"]] == [wanted.id]
    assert [each["id"] for each in (await stage.ask("deliveries.of_webhook", of="shop"))["data"]] == [wanted.id]
    assert (await stage.ask("deliveries.list", endpoint="none"))["data"] == []
    counted = await stage.ask("retries.retry_many", {"endpoint": "shop", "dry_run": True})
    assert counted["matched"] == 1


async def test_rows_of_a_removed_endpoint_are_found_by_its_id(stage: Stage) -> None:
    wanted = stage.row(stage.event("e1"))
    stage.feed.directory.remove_endpoint("ep")
    assert [each["id"] for each in (await stage.ask("deliveries.list", endpoint="ep"))["data"]] == [wanted.id]


async def test_a_replay_names_the_endpoint_by_its_uid(stage: Stage) -> None:
    body: dict[str, Any] = {"from": "1h", "endpoint": "shop", "dry_run": True}
    counted = await _planned(stage, body)
    assert counted.endpoint_id == "ep"
    assert (await stage.refused("replays.create", body | {"endpoint": "none"}))[0] == 422


async def _planned(stage: Stage, body: dict[str, Any]) -> Any:
    """The replay that a dry run counts."""
    seen: list[Any] = []

    class Counter:
        def id(self, prefix: str) -> str:
            return prefix

        async def count(self, replay: Any, *, within_s: float) -> Any:
            seen.append(replay)
            raise RuntimeError("seen")

    stage.services = msgspec.structs.replace(stage.services, counter=Counter(), minter=Counter())
    with pytest.raises(RuntimeError):
        await stage.ask("replays.create", body)
    return seen[0]


@pytest.mark.parametrize("caller", OTHERS, ids=["the other mode", "another tenant"])
async def test_the_uids_of_others_mean_nothing(stage: Stage, caller: Caller) -> None:
    stage.feed.directory.remove_endpoint("ep_2")
    assert await stage.refused("webhooks.get", of="shop", caller=caller) == (404, "not_found")
    stage.row(stage.event("e1"))
    assert (await stage.ask("deliveries.list", caller=caller, endpoint="shop"))["data"] == []
