"""The judge finds what it is there to find: each way of breaking a guarantee, made up by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.faults.checker import Target, judge, record_lag, shown
from tests.faults.cluster import Window
from tests.faults.observer import Seen
from tests.faults.receiver import Hit

EVENTS = ("e1", "e2", "e3")


def hit(event: str, at: float, attempt: int = 1, status: int = 200, **more: Any) -> Hit:
    made = Hit(
        path="/r/a",
        event_id=event,
        attempt=attempt,
        sequence=int(event[1:]),
        ordering_key="k",
        replay="",
        verified=True,
        missing="",
        started=at,
        ended=at + 0.5,
        status=status,
    )
    return replace(made, **more)


def attempt(event: str, state: str = "delivered", number: int = 1) -> dict[str, Any]:
    return {
        "endpoint_id": "ep",
        "event_id": event,
        "attempt": number,
        "state": state,
        "result": "ok",
        "started_at": "now",
    }


def story() -> tuple[Seen, list[Target], list[Hit], list[Window]]:
    """A round in which all is well: three events, the second at its second attempt; something happens at 10."""
    seen = Seen(events=[(0, number, {"id": event, "type": "order.x"}) for number, event in enumerate(EVENTS)])
    seen.attempts = [attempt("e1"), attempt("e2", "retrying"), attempt("e2", number=2), attempt("e3")]
    hits = [hit("e1", 1), hit("e2", 2, status=500), hit("e2", 3, attempt=2), hit("e3", 4)]
    return seen, [Target("ep", "/r/a", fifo=True)], hits, [Window("kill", 10.0, 11.0)]


def test_a_correct_log_has_no_findings() -> None:
    verdict = judge(*story())
    assert verdict.broken == []
    assert (verdict.events, verdict.deliveries, verdict.delivered, verdict.lost) == (3, 3, 3, 0)


def lose_an_event(seen: Seen, hits: list[Hit]) -> None:
    seen.attempts.pop()
    hits.pop()


def say_delivered_without_sending(seen: Seen, hits: list[Hit]) -> None:
    hits.pop()


def end_twice(seen: Seen, hits: list[Hit]) -> None:
    seen.attempts.append(attempt("e3", "dead"))


def die_without_a_letter(seen: Seen, hits: list[Hit]) -> None:
    seen.attempts[-1] = attempt("e3", "dead")
    hits[-1].status = 500


def cancel(seen: Seen, hits: list[Hit]) -> None:
    seen.attempts[-1] = attempt("e3", "cancelled")


def send_again_for_no_reason(seen: Seen, hits: list[Hit]) -> None:
    hits.append(hit("e1", 5))


def send_again_what_was_over_before_the_fault(seen: Seen, hits: list[Hit]) -> None:
    hits.append(hit("e1", 10.5))


def swap_the_order(seen: Seen, hits: list[Hit]) -> None:
    hits[-1].started = 2.9


def lose_a_number(seen: Seen, hits: list[Hit]) -> None:
    hits[-1].sequence = 4


def change_a_number(seen: Seen, hits: list[Hit]) -> None:
    hits[2].sequence = 7


def skip_an_attempt(seen: Seen, hits: list[Hit]) -> None:
    hits[2].attempt = 3


def try_once_too_often(seen: Seen, hits: list[Hit]) -> None:
    hits += [hit("e2", 5 + number, attempt=3 + number) for number in range(3)]


def break_a_signature(seen: Seen, hits: list[Hit]) -> None:
    hits[0].verified = False


def forget_the_token(seen: Seen, hits: list[Hit]) -> None:
    hits[0].missing = "an access token"


def send_to_the_wrong_one(seen: Seen, hits: list[Hit]) -> None:
    hits.append(hit("e9", 6, sequence=4))


def send_to_nobody(seen: Seen, hits: list[Hit]) -> None:
    hits.append(hit("e1", 6, path="/r/deleted"))


@pytest.mark.parametrize(
    "crime",
    [
        lose_an_event,
        say_delivered_without_sending,
        end_twice,
        die_without_a_letter,
        cancel,
        send_again_for_no_reason,
        send_again_what_was_over_before_the_fault,
        swap_the_order,
        lose_a_number,
        change_a_number,
        skip_an_attempt,
        try_once_too_often,
        break_a_signature,
        forget_the_token,
        send_to_the_wrong_one,
        send_to_nobody,
    ],
)
def test_every_planted_violation_is_detected(crime: Callable[[Seen, list[Hit]], None]) -> None:
    seen, targets, hits, windows = story()
    crime(seen, hits)
    assert judge(seen, targets, hits, windows).broken


@pytest.mark.parametrize("crime", [lose_an_event, say_delivered_without_sending, die_without_a_letter])
def test_lost_deliveries_are_counted(crime: Callable[[Seen, list[Hit]], None]) -> None:
    seen, targets, hits, windows = story()
    crime(seen, hits)
    assert judge(seen, targets, hits, windows).lost == 1


def test_the_read_model_is_compared_with_what_came_of_each_delivery() -> None:
    seen, targets, _, _ = story()
    rows = [{"endpoint": "ep", "event_id": event, "state": "delivered"} for event in EVENTS]
    assert not list(shown(seen, targets, rows))
    for wrong in (
        rows[:2],
        [*rows, rows[0]],
        [*rows[:2], {**rows[2], "state": "retrying"}],
        [*rows, {**rows[0], "endpoint": "other"}],
    ):
        assert len(list(shown(seen, targets, wrong))) == 1
    seen.attempts.append(attempt("e3", "dead"))
    assert not list(shown(seen, targets, rows)), "of two ends the better one counts"


def test_requests_in_flight_at_a_fault_may_be_sent_again() -> None:
    seen, targets, hits, windows = story()
    hits[-1].started, hits[-1].ended = 9.2, 9.7
    hits.append(hit("e3", 12))
    verdict = judge(seen, targets, hits, windows)
    assert verdict.broken == [] and verdict.sent_again == 1 and verdict.bound == 2


def test_a_delivery_that_ran_twice_may_be_dead_once_and_delivered_once() -> None:
    seen, targets, hits, windows = story()
    targets[0].attempts = 2
    hits[-1:] = [
        hit("e3", 9.0, status=500),
        hit("e3", 9.5, attempt=2, status=500),
        hit("e3", 12, status=500),
        hit("e3", 13, attempt=2),
    ]
    seen.attempts[-1:] = [attempt("e3", "dead", 2), attempt("e3", "delivered", 2)]
    verdict = judge(seen, targets, hits, windows)
    assert verdict.broken == [] and verdict.ended_twice == 1 and verdict.delivered == 3
    assert judge(seen, targets, hits, []).broken, "nothing explains it"
    assert verdict.forked == 1
    assert judge(seen, targets, hits, windows, orderly=True).broken, (
        "nothing was killed: there is no reason for two runs"
    )


def test_requests_of_a_key_that_overlap_are_found_whatever_their_order() -> None:
    seen, targets, hits, windows = story()
    windows[0].begun = 4.2
    hits.append(hit("e2", 4.3, attempt=2))  # a fault repeats it beside its successor, which began before
    verdict = judge(seen, targets, hits, windows)
    assert verdict.overlaps == 1
    assert [said for said in verdict.broken if "was under way" in said]
    targets[0].fifo = False
    assert judge(seen, targets, hits, windows).overlaps == 0, "the order of that endpoint is nobody's promise"


def test_a_request_may_be_repeated_while_the_receiver_is_processing_it() -> None:
    seen, targets, hits, windows = story()
    hits[-1].started, hits[-1].ended = 9.2, 14.0
    hits.append(hit("e3", 12))
    verdict = judge(seen, targets, hits, windows)
    assert verdict.broken == [] and verdict.overlaps == 0


def test_keys_do_not_wait_for_each_other() -> None:
    seen, targets, hits, windows = story()
    for one in hits[:3]:
        one.ended = 4.9
    hits[0].ordering_key, hits[1].ordering_key, hits[2].ordering_key = "a", "b", "c"
    assert judge(seen, targets, hits, windows).overlaps == 0


def test_an_overtaken_copy_does_not_count_as_an_end() -> None:
    seen, targets, hits, windows = story()
    seen.attempts.append({**attempt("e1", "cancelled"), "reason": "superseded"})
    assert judge(seen, targets, hits, windows).broken == []
    del seen.attempts[0]
    assert judge(seen, targets, hits, windows).lost == 1, "it is not a substitute for one either"


def test_one_attempt_without_a_connection_is_allowed_and_many_are_a_fault() -> None:
    seen, targets, hits, windows = story()
    seen.attempts[1]["error"] = "There was no connection within 0.7 s."
    first = hits.pop(1)
    verdict = judge(seen, targets, hits, windows)
    assert verdict.broken == [] and verdict.unconnected == 1
    seen.attempts[1]["error"] = "the endpoint answered 500"
    assert judge(seen, targets, hits, windows).broken, "somebody must have seen it"
    seen, targets, hits, windows = story()
    hits = [replace(first, attempt=2, status=200, event_id=f"e{number}", sequence=number) for number in range(1, 9)]
    seen.events = [(0, number, {"id": f"e{number}", "type": "order.x"}) for number in range(1, 9)]
    seen.attempts = [
        {**attempt(f"e{number}", "retrying"), "error": "There was no connection within 0.7 s."}
        for number in range(1, 9)
    ] + [attempt(f"e{number}", number=2) for number in range(1, 9)]
    targets[0].fifo = False
    assert [said for said in judge(seen, targets, hits, windows).broken if "no connection in time" in said]


def dying_by_timeout() -> tuple[Seen, list[Target], list[Hit], list[Window]]:
    """The second event dies: its last attempt has no answer in time."""
    seen, targets, hits, windows = story()
    targets[0].attempts = 2
    seen.attempts[2] = {**attempt("e2", "dead", 2), "result": "timeout"}
    seen.dead = [("e2", "ep", "exhausted")]
    hits[2].status = 0
    return seen, targets, hits, windows


def test_a_last_attempt_that_found_no_connection_ends_its_delivery() -> None:
    seen, targets, hits, windows = dying_by_timeout()
    seen.attempts[2]["error"] = "There was no connection within 0.7 s."
    del hits[2]
    verdict = judge(seen, targets, hits, windows)
    assert verdict.broken == [] and (verdict.dead, verdict.unconnected) == (1, 1)
    hits[-1].started = hits[1].ended - 0.1
    assert any("before 2 was over" in each for each in judge(seen, targets, hits, windows).broken)
    hits[-1].started = 4.0
    seen.attempts.insert(3, {**seen.attempts[2], "attempt": 3})
    assert any("3 attempts, and the schedule has 2" in each for each in judge(seen, targets, hits, windows).broken)


def test_a_receiver_may_take_a_dead_delivery_after_the_timeout_and_in_time_it_may_not() -> None:
    seen, targets, hits, windows = dying_by_timeout()
    hits[2].status, hits[2].ended = 200, 4.2  # while the next one is under way
    verdict = judge(seen, targets, hits, windows)
    assert verdict.broken == [] and (verdict.dead, verdict.overlaps) == (1, 0)
    seen.attempts[2]["result"] = "server_error"
    broken = judge(seen, targets, hits, windows).broken
    assert any("dead, and the receiver has taken it" in each for each in broken)
    assert any("before 2 was over" in each for each in broken) and any("was under way" in each for each in broken)


def test_a_slow_machine_has_as_much_longer_to_commit_as_its_records_take() -> None:
    seen, targets, hits, windows = story()
    hits.append(hit("e3", 12))  # again, though the first one had ended five seconds before the fault
    assert any("no fault explains it" in each for each in judge(seen, targets, hits, windows).broken)
    seen.read_at = {("e1", "ep", 1): 1.6, ("e2", "ep", 1): 2.5 + 5.0, ("e3", "ep", 1): 99.0}
    assert not any("no fault explains it" in each for each in judge(seen, targets, hits, windows).broken)
    windows[0] = Window("kill", 4.4, 11.0)  # e3 was under way: what it took says nothing of the machine
    seen.read_at = {("e1", "ep", 1): 1.6, ("e3", "ep", 1): 99.0}
    assert record_lag(seen, targets, hits, windows) == pytest.approx(0.1)


def test_an_event_that_the_filter_refuses_is_not_for_the_endpoint() -> None:
    seen, targets, hits, windows = story()
    targets[0].accepts = lambda event: event["id"] != "e1"
    (broken,) = judge(seen, targets, hits, windows).broken
    assert "got e1" in broken
    seen.attempts.pop(0)
    hits.pop(0)
    assert judge(seen, targets, hits, windows).broken == [], "numbers of refused events are gaps"


def test_an_attempt_without_an_access_token_reaches_no_receiver() -> None:
    seen, targets, hits, windows = story()
    hits.pop(1)
    assert judge(seen, targets, hits, windows).broken
    seen.attempts[1]["result"] = "token"
    assert judge(seen, targets, hits, windows).broken == []


def test_a_delivery_that_is_parked_after_an_attempt_hides_nothing_of_it() -> None:
    seen, targets, hits, windows = story()
    seen.attempts[1]["error"] = "no connection within 1 s"
    parked = attempt("e2", "parked")
    parked["result"] = "paused"
    seen.attempts.insert(2, parked)
    hits.pop(1)
    assert judge(seen, targets, hits, windows).broken == []
