"""Records of events.rejected say why and where, whatever headers the producer has chosen."""

from __future__ import annotations

import msgspec
import pytest

from app.core.errors import Defect
from app.core.records import rejected

NOTICE = rejected.RejectedNotice(
    reason="bad_type", detail="type 'ä b'", topic="events.raw", partition=3, offset=7, timestamp=-1
)


def test_a_notice_is_read_as_it_was_written() -> None:
    assert rejected.read(rejected.write(NOTICE)) == NOTICE


def test_the_headers_of_the_producer_do_not_count() -> None:
    forged = [("rejected-offset", b"9"), ("rejected-by", b"me"), ("other", b"\xff")]
    assert rejected.read([*forged, *rejected.write(NOTICE)]) == NOTICE


def test_a_long_detail_is_cut() -> None:
    written = dict(rejected.write(msgspec.structs.replace(NOTICE, detail="ä" * 2000)))
    assert len(written["rejected-detail"]) == 1024


@pytest.mark.parametrize("headers", [[], [("rejected-offset", b"x")], rejected.write(NOTICE)[1:]])
def test_malformed_headers_are_a_defect(headers: list[tuple[str, bytes]]) -> None:
    with pytest.raises(Defect):
        rejected.read(headers)
