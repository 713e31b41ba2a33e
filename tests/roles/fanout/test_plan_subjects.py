"""Bodies of events with a subject are sealed before they are written anywhere, and erased events make no deliveries."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest

from app.adapters.secrets.keyring import AesKeyRing
from app.adapters.secrets.subject_vault import AesSubjectKeeper, AesSubjectVault
from app.core.directory import Directory
from app.core.errors import Unavailable
from app.core.model.event_types import EventType
from app.core.records import delivery as delivery_record
from app.core.records import registry
from app.core.records.command import EraseSubject
from app.core.schemas.rules import Violation
from app.core.topics.names import TopicName
from app.roles.fanout.plan import BatchPlan, BatchPlanner
from app.roles.registry import erasures
from tests.roles.fanout.planning import FanoutTables, keys, outputs
from tests.roles.fanout.test_plan_filters import endpoint, event
from tests.roles.fanout.test_plan_slices import RULES, Record

RING = AesKeyRing("k1:" + base64.b64encode(bytes(32)).decode())
PLANTED = "Ada"


class Fanout:
    """A planner's directory and tables."""

    def __init__(self) -> None:
        self.directory = Directory()
        self.tables = FanoutTables()
        self.vault = AesSubjectVault(lambda: self.directory.erasures, RING)
        self.violation: Violation | None = None

    def made(self) -> Fanout:
        self._apply(erasures.first_keys(self.directory, 1, AesSubjectKeeper(RING)))
        return self

    def erase(self, at_ms: int) -> None:
        action = EraseSubject(self.vault.erasure_id("default", "live", PLANTED), "default", "live")
        self._apply(erasures.decide(action, self.directory, at_ms, AesSubjectKeeper(RING)))

    def _apply(self, changes: Any) -> None:
        for change in changes:
            registry.apply(self.directory, change.key, registry.encode(change.value))

    def plan(self, *records: Record) -> BatchPlan:
        planner = BatchPlanner(
            RULES,
            self.tables.state(),
            self.directory,
            lambda: 0,
            subjects=self.vault,
            violation=lambda event_type, data: self.violation,
        )
        (planned,) = planner.plan(records)
        self.tables.write(planned)
        return planned


def test_all_deliveries_of_an_event_are_sealed_and_can_be_opened() -> None:
    fanout = Fanout().made()
    fanout.directory.put_endpoint(endpoint("active"))
    fanout.directory.put_endpoint(endpoint("fifo", ordering="fifo"))
    fanout.directory.put_endpoint(endpoint("paused", status="paused"))
    planned = fanout.plan(event(0, PLANTED, subject=PLANTED, ordering_key="k"), event(1, "plain"))
    for topic in (TopicName.DELIVERIES, TopicName.DELIVERIES_ORDERED, TopicName.DELIVERIES_DEAD):
        key, headers, value = outputs(planned, topic)[0]
        assert value is not None and PLANTED.encode() not in value + b"".join(text or b"" for _, text in headers)
        sealed, _ = delivery_record.decode(key, value, headers)
        opened = fanout.vault.open(sealed)
        assert opened is not None and msgspec.json.decode(opened.body)["data"] == PLANTED
    assert b"plain" in (outputs(planned, TopicName.DELIVERIES)[1][2] or b"")


def test_an_erased_event_makes_no_delivery_and_keeps_its_number() -> None:
    fanout = Fanout().made()
    fanout.directory.put_endpoint(endpoint("ep"))
    fanout.erase(at_ms=1000)
    old, new = event(0, 1, subject=PLANTED, ordering_key="k"), event(1, 1, subject=PLANTED, ordering_key="k")
    planned = fanout.plan(msgspec.structs.replace(old, timestamp=1000), msgspec.structs.replace(new, timestamp=1001))
    ((_, headers, _),) = outputs(planned, TopicName.DELIVERIES)
    assert (dict(headers)["event-id"], dict(headers)["sequence"]) == (b"e1", b"2")
    assert (planned.accepted, planned.unmatched, planned.ended) == (2, 1, 2)


def test_without_keys_nothing_is_planned_in_plain() -> None:
    fanout = Fanout()
    fanout.directory.put_endpoint(endpoint("ep"))
    with pytest.raises(Unavailable, match="keys of subjects"):
        fanout.plan(event(0, 1, subject=PLANTED))
    assert keys(fanout.plan(event(1, 1))) == [b"ep"]


@pytest.mark.parametrize("enforce", ["reject", "warn"])
def test_a_violation_quotes_nothing_of_an_event_with_a_subject(enforce: Any) -> None:
    fanout = Fanout().made()
    fanout.directory.put_endpoint(endpoint("ep"))
    fanout.directory.put_event_type(EventType(tenant="default", mode="live", name="a.b", enforce=enforce))
    fanout.violation = Violation("schema", f"/data: {PLANTED} is no number")
    planned = fanout.plan(event(0, PLANTED, subject=PLANTED), event(1, "plain"))
    if enforce == "reject":
        withheld, whole = outputs(planned, TopicName.EVENTS_REJECTED)
        assert withheld[2] is None and PLANTED.encode() not in b"".join(text or b"" for _, text in withheld[1])
        names = dict(withheld[1])
        assert (names["rejected-reason"], names["tenant"], names["ce_id"]) == (b"schema", b"default", b"e0")
        assert b"plain" in (whole[2] or b"")
    else:
        assert [PLANTED in violation.detail for _, violation in planned.warnings] == [False, True]


@pytest.mark.parametrize("subject", ["", "x" * 257, "a\nb", "\u202e", 5])
def test_another_subject_is_refused_or_none(subject: Any) -> None:
    fanout = Fanout().made()
    fanout.directory.put_endpoint(endpoint("ep"))
    planned = fanout.plan(event(0, 1, subject=subject))
    expected = [] if subject == "" else ["not_an_event" if subject == 5 else "bad_subject"]
    assert planned.rejections == expected
