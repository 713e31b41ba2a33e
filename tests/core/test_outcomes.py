"""Every result has an explanation, and a failure says what to do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from app.core import outcomes
from app.core.model.http_exchange import HttpFailure, HttpFailureKind, HttpOutcome, HttpReply, HttpTiming
from app.core.outcomes import RetryRule
from app.profiles.catalog import PROFILES
from app.profiles.contract import Profile
from app.profiles.policy import RetryPolicy
from app.roles.dispatch.verdict import Dead, RetryAt, judge, result_of
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
        outcome = outcomes.outcome_of(word, status)
        assert outcome is not None, word
        assert bool(outcome.do) is (word != "ok"), word
    for kind in get_args(HttpFailureKind):
        outcome = outcomes.outcome_of(kind)
        assert outcome is not None and outcome.what and outcome.do, kind


LATER_S = 10**7


@pytest.mark.parametrize("profile", PROFILES.values(), ids=list(PROFILES))
def test_the_rule_is_what_dispatch_does(profile: Profile) -> None:
    policy = RetryPolicy(schedule_s=(0, 5, 5), gone_410=profile.disable.gone_410)
    exchanges: list[HttpOutcome] = [
        HttpReply(
            status=status, headers=(("retry-after", str(LATER_S)),), body=b"", truncated=False, timing=HttpTiming()
        )
        for status in range(100, 600)
        if not 200 <= status < 300
    ]
    exchanges += [HttpFailure(kind=kind, detail="", timing=HttpTiming()) for kind in get_args(HttpFailureKind)]
    for exchange in exchanges:
        outcome = outcomes.outcome_of(result_of(exchange), exchange.status if isinstance(exchange, HttpReply) else None)
        verdict = judge(exchange, attempt=1, policy=policy, now_ms=0, dice=0.0)
        assert outcome is not None
        match outcome.rule:
            case RetryRule.SCHEDULE:
                assert isinstance(verdict, RetryAt)
            case RetryRule.RETRY_AFTER:
                assert isinstance(verdict, RetryAt) and verdict.due_at_ms > 60_000
            case RetryRule.GONE:
                assert isinstance(verdict, Dead if profile.disable.gone_410 else RetryAt)
            case _:
                raise AssertionError(exchange)


def test_every_reason_for_an_end_without_a_request_has_a_hint() -> None:
    ends = reasons_in_the_code() | set(get_args(key_queue.DeadLetter.__annotations__["reason"])) | {"exhausted", "gone"}
    assert {"endpoint_removed", "endpoint_disabled", "cancelled", "paused", "unreadable"} <= ends
    assert ends <= outcomes.WORDS


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
def test_the_hint_names_the_cause(result: str, status: int | None, word: str) -> None:
    outcome = outcomes.outcome_of(result, status)
    assert outcome is not None and word in f"{outcome.what} {outcome.do}".lower()


def test_an_unknown_outcome_has_no_hint() -> None:
    assert outcomes.outcome_of("teapot") is None
    assert outcomes.outcome_of(None) is None
