"""Every record of deliveries.ordered is read back, under the header names that other versions rely on."""

from __future__ import annotations

import pytest

from app.core.errors import Defect
from app.core.records import ordered
from app.core.records.headers import RecordHeader
from app.core.records.ordered import Arrival, GateStep, OperatorInstruction, OrderedRecord, Settlement

DELIVERY: list[RecordHeader] = [("delivery-id", b"dlv_1"), ("ordering-key", b"k")]


@pytest.mark.parametrize(
    ("headers", "key", "record"),
    [
        (DELIVERY, "k", Arrival()),
        ([*DELIVERY, ("resumed", b"1")], "k", Arrival(resumed=True)),
        ([*DELIVERY, ("settles", b"7"), ("outcome", b"parked")], "k", Settlement(7, "parked")),
        ([("settles", b"7"), ("outcome", b"dead"), ("ordering-key", b"k")], "k", Settlement(7, "dead")),
        ([("instruction", b"skip"), ("ordering-key", b"k")], "k", OperatorInstruction("skip")),
        ([("gate", b"parking"), ("resume-run", b"r")], "", GateStep("parking", "r")),
        ([("gate", b"holding"), ("resume-run", b"r")], "", GateStep("holding", "r")),
        ([("gate", b"open"), ("resume-run", b"")], "", GateStep("open")),
    ],
)
def test_header_names(headers: list[RecordHeader], key: str, record: OrderedRecord) -> None:
    assert ordered.read(headers) == (key, record)


def test_encoded_header_names() -> None:
    assert ordered.settlement(7, "dead", "k") == [("settles", b"7"), ("outcome", b"dead"), ("ordering-key", b"k")]
    assert ordered.comes_back(7) == [("settles", b"7"), ("outcome", b"parked")]
    assert ordered.instruction("drop", "k") == [("instruction", b"drop"), ("ordering-key", b"k")]
    assert ordered.step("holding", "r") == [("gate", b"holding"), ("resume-run", b"r")]


def test_only_the_headers_of_the_delivery_remain() -> None:
    assert ordered.of_delivery([*DELIVERY, *ordered.comes_back(7), ("arrival", b"1"), ordered.RESUMED]) == DELIVERY


@pytest.mark.parametrize(
    "headers",
    [
        [("gate", b"ajar")],
        [("settles", b"x"), ("outcome", b"dead"), ("ordering-key", b"k")],
        [("settles", b"1"), ("outcome", b"aside"), ("ordering-key", b"k")],
        [("instruction", b"explode"), ("ordering-key", b"k")],
        [("ordering-key", b"k" * 513)],
        [],
    ],
)
def test_other_records_are_defects(headers: list[RecordHeader]) -> None:
    with pytest.raises(Defect, match=r"deliveries\.ordered"):
        ordered.read(headers)
