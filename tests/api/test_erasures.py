"""POST /v1/erasures, and the events that the API neither shows nor sends afterwards."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from app.adapters.secrets.subject_vault import AesSubjectKeeper
from app.api.problems import ApiError
from app.api.request import Caller
from app.core.errors import Unavailable
from app.core.records import delivery as delivery_record
from app.core.records import registry
from app.core.topics.names import TopicName
from app.roles.registry import erasures
from tests.api.read_stage import ACME, KEYRING, Stage
from tests.dashboard.stage import CountingMinter


@pytest.fixture
async def stage() -> Stage:
    made = Stage()
    made.services = msgspec.structs.replace(made.services, minter=CountingMinter())
    for change in erasures.first_keys(made.feed.directory, 1, AesSubjectKeeper(KEYRING)):
        registry.apply(made.feed.directory, change.key, registry.encode(change.value))
    return made


def other(**fields: Any) -> Caller:
    return msgspec.structs.replace(ACME, **fields)


async def test_an_erasure_is_a_resource_of_its_tenant_and_mode(stage: Stage) -> None:
    done = await stage.ask("erasures.create", {"subject": "Ada"})
    assert done["times"] == 1 and "Ada" not in json.dumps(done)
    assert await stage.ask("erasures.get", of=done["id"]) == done
    assert (await stage.ask("erasures.list"))["data"] == [done]
    again = await stage.ask("erasures.create", {"subject": "Ada"})
    assert (again["id"], again["times"]) == (done["id"], 2) and again["erased_at"] >= done["erased_at"]
    for caller in (other(tenant="b"), other(mode="test")):
        assert await stage.refused("erasures.get", of=done["id"], caller=caller) == (404, "not_found")
        assert (await stage.ask("erasures.list", caller=caller))["data"] == []
        assert (await stage.ask("erasures.create", {"subject": "Ada"}, caller=caller))["id"] != done["id"]
    assert await stage.refused("erasures.get", of="ers_none") == (404, "not_found")


@pytest.mark.parametrize("subject", ["漢" * 256, "ада 🙂", "a/b?c=%00", " ", "../../x", "${jndi:x}"])
async def test_any_printable_text_is_a_subject(stage: Stage, subject: str) -> None:
    assert (await stage.ask("erasures.create", {"subject": subject}))["times"] == 1


@pytest.mark.parametrize("subject", ["a\nb", "\x00", "\u202e", "a\u200b"])
async def test_other_texts_are_refused(stage: Stage, subject: str) -> None:
    assert (await stage.refused("erasures.create", {"subject": subject}))[0] == 422
    with pytest.raises(ApiError):
        await stage.ask("events.create", {"type": "a.b", "id": "e9", "data": 1, "subject": subject})


@pytest.mark.parametrize("subject", ["", "x" * 257, None, 5])
async def test_the_bounds_are_in_the_contract(stage: Stage, subject: Any) -> None:
    with pytest.raises(msgspec.ValidationError):
        await stage.ask("erasures.create", {"subject": subject})


async def test_without_keys_the_request_can_be_repeated_later() -> None:
    with pytest.raises(Unavailable):
        await Stage().ask("erasures.create", {"subject": "Ada"})


async def test_a_retry_is_sealed_and_none_is_made_after_the_erasure(stage: Stage) -> None:
    row = stage.row(stage.event(subject="Ada"))
    plain = stage.row(stage.event("e2"), endpoint="ep")
    await stage.ask("retries.retry", of=row.id)
    (record,) = stage.log.of(TopicName.DELIVERIES)
    copy, _ = delivery_record.decode(record.key, record.value, record.headers)
    assert copy.sealed is not None and b'"data"' not in copy.body
    opened = stage.services.subjects.open(copy)
    assert opened is not None and json.loads(opened.body)["subject"] == "Ada"
    await stage.ask("erasures.create", {"subject": "Ada"})
    assert stage.services.subjects.open(copy) is None
    assert await stage.refused("retries.retry", of=row.id) == (409, "event_gone")
    await stage.ask("retries.retry", of=plain.id)
    assert len(stage.log.of(TopicName.DELIVERIES)) == 2


async def test_an_event_that_the_api_appends_has_its_subject(stage: Stage) -> None:
    await stage.ask("events.create", {"type": "a.b", "id": "e9", "data": 1, "subject": "Ada"})
    (record,) = stage.log.of(TopicName.EVENTS_RAW)
    assert json.loads(record.value or b"")["subject"] == "Ada"
