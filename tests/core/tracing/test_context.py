"""Trace contexts are read as W3C Trace Context says, and derived ids depend on the event alone."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.tracing import context
from app.core.tracing.context import TraceContext

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
HEADER = f"00-{TRACE}-{SPAN}-01"


def test_a_header_is_read_and_written() -> None:
    assert context.read(HEADER) == TraceContext(TRACE, SPAN, sampled=True)
    assert context.read(HEADER[:-2] + "00") == TraceContext(TRACE, SPAN, sampled=False)
    assert TraceContext(TRACE, SPAN).traceparent == HEADER
    assert context.read(f"cc-{TRACE}-{SPAN}-09-later-versions") == TraceContext(TRACE, SPAN), "of a later version"


@pytest.mark.parametrize(
    "bad",
    [
        None,
        "",
        "00-0-0-00",
        HEADER.upper(),
        f"{HEADER}-more",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f" {HEADER}",
        f"cc-{TRACE}-{SPAN}-01-{'x' * 401}",
    ],
)
def test_an_invalid_header_is_none(bad: str | None) -> None:
    assert context.read(bad) is None
    assert context.event_trace("t", "live", "e", bad) == context.event_trace("t", "live", "e", None)


@given(st.lists(st.text(), min_size=4, max_size=4))
def test_derived_ids_are_valid_and_repeat(parts: list[str]) -> None:
    tenant, mode, event, replay = parts
    trace = context.event_trace(tenant, mode, event, None)
    span = context.fanout_span(tenant, mode, event, replay)
    assert trace == context.event_trace(tenant, mode, event, None)
    assert context.read(trace.at(span).traceparent) == trace.at(span)
    assert re.fullmatch("[0-9a-f]{16}", context.attempt_span(event, 1))
    assert context.attempt_span(event, 1) != context.attempt_span(event, 2)
    assert context.replay_trace(event) != context.replay_trace(event, replay)
