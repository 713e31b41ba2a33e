"""Every result has an explanation, and a failure says what to do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from app.core import wording
from app.core.model.http_exchange import HttpFailureKind, HttpReply, HttpTiming
from app.roles.dispatch.verdict import result_of
from app.roles.sequencer import key_queue

APP = Path(__file__).parents[2] / "app"


def reply(status: int) -> HttpReply:
    return HttpReply(status=status, headers=(), body=b"", truncated=False, timing=HttpTiming())


def reasons_in_the_code() -> set[str]:
    """The words with which dispatch ends a delivery without a request, read off its source."""
    reasons = set()
    for path in (APP / "roles" / "dispatch").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        reasons |= set(re.findall(r'\.end\(work, \w+, "\w+", "(\w+)"', text))
        reasons |= set(re.findall(r'reason = "(\w+)" if', text)) | set(re.findall(r'else "(unreadable)"', text))
    return reasons


def test_every_status_and_every_refusal_has_a_hint_and_failures_say_what_to_do() -> None:
    for status in range(100, 600):
        word = result_of(reply(status))
        found = wording.hint(word, status)
        assert found is not None, word
        assert bool(found.do) is (word != "ok"), word
    for kind in get_args(HttpFailureKind):
        found = wording.hint(kind)
        assert found is not None and found.what and found.do, kind


def test_every_reason_for_an_end_without_a_request_has_a_hint() -> None:
    ends = reasons_in_the_code() | set(get_args(key_queue.DeadLetter.__annotations__["reason"])) | {"exhausted", "gone"}
    assert {"endpoint_removed", "endpoint_disabled", "cancelled", "paused", "unreadable"} <= ends
    assert ends <= wording.WORDS


@pytest.mark.parametrize(
    ("result", "status", "word"),
    [
        ("http_4xx", 401, "signature"),
        ("http_4xx", 403, "signature"),
        ("http_4xx", 404, "path"),
        ("http_4xx", 410, "gone"),
        ("http_4xx", 413, "large"),
        ("http_3xx", 301, "redirect"),
        ("http_429", 429, "too many"),
        ("timeout", None, "2xx"),
        ("tls", None, "certificate"),
        ("dns", None, "name"),
        ("blocked_address", None, "public"),
        ("refused", None, "port"),
        ("http_5xx", 599, "logs"),
    ],
)
def test_the_hint_speaks_of_the_cause(result: str, status: int | None, word: str) -> None:
    found = wording.hint(result, status)
    assert found is not None and word in f"{found.what} {found.do}".lower()


def test_a_word_of_somebody_else_gets_no_hint() -> None:
    assert wording.hint("teapot") is None
    assert wording.hint(None) is None
