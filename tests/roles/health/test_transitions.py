"""Health: the profiles' rules over days of made-up time, the warnings on the way, the same answers when read again."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.model.endpoint import Endpoint, OpenCircuit
from app.core.records.signal import HealthSignal
from app.core.wording import plain
from app.profiles.catalog import PROFILES
from app.roles.health.transitions import (
    AppendNotice,
    DisableEndpoint,
    EmittedActions,
    HealthAction,
    HealthState,
    ShowCircuit,
    ShowFailing,
    observe,
)

HOUR = 3_600_000
DAY = 24 * HOUR
START = 1_700_000_000_000


class Patient:
    """An endpoint and its state; signals are given by hand."""

    def __init__(self, profile: str, **fields: Any) -> None:
        self.endpoint = Endpoint(
            id="ep", tenant="acme", mode="live", url="https://x.example/", events=("*",), profile=profile, **fields
        )
        self.rule = PROFILES[profile].disable
        self.state: HealthState | None = None
        self.offset = -1
        self.at_ms = START
        self.given: list[tuple[HealthSignal, int, int]] = []

    def wait(self, ms: float) -> Patient:
        self.at_ms += round(ms)
        return self

    def fail(
        self, delivery: str = "d1", dead: str | None = None, error: str = "the endpoint answered 500"
    ) -> list[str]:
        signal = HealthSignal(
            outcome="failed",
            epoch=self.endpoint.epoch,
            delivery_id=f"dlv_{delivery:>8}",
            result="http_5xx",
            error=error,
            dead=dead,
        )
        return self.give(signal)

    def succeed(self) -> list[str]:
        return self.give(HealthSignal(outcome="ok", epoch=self.endpoint.epoch, delivery_id="dlv"))

    def give(self, signal: HealthSignal) -> list[str]:
        """The orders, in short."""
        self.offset += 1
        self.given.append((signal, self.offset, self.at_ms))
        return short(self.orders_of(signal, self.offset, self.at_ms))

    def orders_of(self, signal: HealthSignal, offset: int, at_ms: int) -> tuple[HealthAction, ...]:
        self.state, emitted = observe(self.state, self.endpoint, self.rule, signal, offset, at_ms)
        return emitted.actions if emitted else ()

    def circuit(self, *, is_open: bool) -> list[str]:
        mark = OpenCircuit(since_ms=self.at_ms - 30_000, probe_at_ms=self.at_ms + 15_000) if is_open else None
        return self.give(HealthSignal(outcome="circuit", epoch=self.endpoint.epoch, circuit=mark))

    def renew(self) -> None:
        self.endpoint = msgspec.structs.replace(self.endpoint, epoch=self.endpoint.epoch + 3)


def short(orders: tuple[HealthAction, ...]) -> list[str]:
    found = []
    for order in orders:
        match order:
            case ShowFailing(failing_since_ms=since):
                found.append("hide" if since is None else "show")
            case DisableEndpoint():
                found.append("disable")
            case ShowCircuit(circuit=circuit):
                found.append("closed" if circuit is None else "open")
            case AppendNotice(notice=notice):
                percent = notice.data.get("percent")
                found.append(notice.kind.partition(".")[2] + (f" {percent}" if percent else ""))
    return found


# --- VoxScriber: "After 5 consecutive failures, the webhook is automatically disabled" -------------------------------


def test_voxscriber_disables_after_five_failures_in_a_row() -> None:
    patient = Patient("voxscriber")
    assert patient.fail() == []
    assert patient.wait(60_000).fail() == []
    assert patient.wait(300_000).fail() == ["show", "failing 50"]
    assert patient.wait(1_800_000).fail() == ["failing 75"]
    assert patient.wait(7_200_000).fail(dead="exhausted") == ["disable", "disabled", "dead"]
    assert patient.wait(1).fail("another") == []


def test_voxscriber_counts_failures_of_different_deliveries_and_a_success_resets_the_count() -> None:
    patient = Patient("voxscriber")
    for number in range(4):
        patient.fail(f"d{number}")
    assert patient.succeed() == ["hide", "recovered"]
    for number in range(4):
        assert "disable" not in patient.wait(2 * HOUR).fail(f"e{number}")
    assert "disable" in patient.fail("e5")


# --- Recall: five days of only failures, and when their clock starts -------------------------------------------------


def test_recalls_clock_starts_when_several_deliveries_failed_within_24_hours_and_12_hours_apart() -> None:
    patient = Patient("recall")
    patient.fail("d1")
    patient.wait(11.9 * HOUR).fail("d2")
    assert patient.state and patient.state.clock_ms == 0
    patient.wait(0.2 * HOUR).fail("d3")
    assert patient.state.clock_ms == patient.at_ms


def test_recalls_clock_does_not_start_with_one_delivery_or_with_failures_more_than_24_hours_apart() -> None:
    alone = Patient("recall")
    for _ in range(8):
        alone.wait(3 * HOUR).fail("d1")
    assert alone.state and alone.state.clock_ms == 0, "one delivery is not several"
    rare = Patient("recall")
    for number in range(8):
        rare.wait(25 * HOUR).fail(f"d{number}")
    assert rare.state and rare.state.clock_ms == 0


def test_recall_disables_after_five_days_of_only_failures() -> None:
    patient = Patient("recall")
    patient.fail("d1")
    patient.wait(12 * HOUR).fail("d2")
    seen = [(hour, patient.wait(HOUR).fail(f"e{hour}")) for hour in range(1, 121)]
    assert [each for each in seen if each[1]] == [
        (60, ["failing 50"]),
        (90, ["failing 75"]),
        (120, ["disable", "disabled"]),
    ]
    assert patient.state and patient.state.shown == (START, START + 12 * HOUR + 5 * DAY)


def test_a_single_success_stops_recalls_clock() -> None:
    patient = Patient("recall")
    for number in range(100):
        patient.wait(HOUR).fail(f"d{number}")
    patient.succeed()
    for number in range(5 * 24):
        assert "disable" not in patient.wait(HOUR).fail(f"e{number}")


# --- the others ------------------------------------------------------------------------------------------------------


def test_standard_disables_at_once_on_410() -> None:
    orders = Patient("standard").orders_of(
        HealthSignal(outcome="failed", epoch=1, delivery_id="d", result="http_4xx", dead="gone"), 0, START
    )
    assert short(orders) == ["show", "disable", "disabled", "dead"]
    disable = orders[1]
    assert isinstance(disable, DisableEndpoint) and "410 Gone" in disable.reason


def test_standard_disables_after_five_days_from_the_first_failure() -> None:
    patient = Patient("standard")
    patient.fail()
    assert patient.wait(600_000).fail() == ["show"]
    assert patient.wait(5 * DAY - 600_001).fail() == ["failing 75"], "of two warnings that are due, the later one"
    assert patient.wait(1).fail() == ["disable", "disabled"]


@pytest.mark.parametrize("profile", ["bota", "efficlose"])
def test_without_a_disable_rule_an_endpoint_is_shown_as_failing_and_stays_enabled(profile: str) -> None:
    patient = Patient(profile)
    told = [patient.wait(HOUR).fail(f"d{number}") for number in range(24 * 30)]
    assert [each for each in told if each] == [["show"]]
    assert patient.state and patient.state.shown == (START + HOUR, None)
    assert patient.succeed() == ["hide"]


def test_an_endpoint_has_numbers_of_its_own_and_0_means_never() -> None:
    own = Patient("bota", disable_after_failures=2)
    assert [own.fail(), own.fail()] == [["show", "failing 50"], ["disable", "disabled"]]
    never = Patient("voxscriber", disable_after_failures=0)
    assert not any("disable" in never.wait(HOUR).fail() for _ in range(200))
    days = Patient("bota", disable_after_days=1.0)
    days.fail()
    assert days.wait(DAY).fail() == ["show", "disable", "disabled"]


def test_an_endpoint_without_attempts_for_long_starts_again() -> None:
    patient = Patient("standard")
    patient.fail()
    patient.wait(HOUR).fail()
    assert patient.wait(10 * DAY + 1).fail() == ["hide"]
    assert patient.state and patient.state.clock_ms == patient.at_ms
    assert "disable" in patient.wait(5 * DAY).fail()


def test_a_flapping_endpoint_causes_one_notice_an_hour_and_is_still_disabled() -> None:
    patient = Patient("voxscriber")
    told = []
    for _ in range(600):
        for _ in range(4):
            told += patient.wait(1500).fail()
        told += patient.succeed()
    assert told.count("recovered") == 1 and told.count("show") == 1, "600 times in an hour"
    assert [patient.fail() for _ in range(5)][-1] == ["show", "disable", "disabled"]


def test_dead_deliveries_of_a_day_cause_notices_at_1_10_100() -> None:
    patient = Patient("bota")
    told = [number for number in range(1, 251) if "dead" in patient.wait(1000).fail(f"d{number}", dead="exhausted")]
    assert told == [1, 10, 100]
    assert "dead" in patient.wait(DAY).give(HealthSignal(outcome="unsent", epoch=1, delivery_id="d", dead="unreadable"))
    assert patient.state and patient.state.failures == 250, "what was not sent is no failure of the endpoint"


# --- epochs and records that are read again --------------------------------------------------------------------------


def test_an_enabled_endpoint_starts_healthy_and_older_signals_are_ignored() -> None:
    patient = Patient("voxscriber")
    late = HealthSignal(outcome="failed", epoch=1, delivery_id="old")
    for _ in range(5):
        patient.fail()
    patient.renew()
    for _ in range(10):
        assert patient.give(late) == []
    assert [patient.fail() for _ in range(5)][-1] == ["disable", "disabled"]


def test_a_disabled_or_removed_endpoint_is_not_judged() -> None:
    patient = Patient("voxscriber", status="disabled")
    assert [patient.fail() for _ in range(9)] == [[]] * 9 and patient.state is None
    signal = HealthSignal(outcome="failed", epoch=1, delivery_id="d")
    assert observe(HealthState(), None, patient.rule, signal, 3, START) == (None, None)


def test_healthy_endpoints_take_no_room() -> None:
    patient = Patient("voxscriber")
    assert patient.succeed() == [] and patient.state is None
    patient.fail()
    assert patient.succeed() == [] and patient.state is None


@given(
    st.lists(st.tuples(st.sampled_from(["ok", "bad", "dead"]), st.integers(0, 2 * DAY)), max_size=40),
    st.sampled_from(sorted(PROFILES)),
    st.data(),
)
def test_reading_again_changes_nothing_and_gives_the_same_orders(
    script: list[tuple[str, int]], profile: str, data: st.DataObject
) -> None:
    patient = Patient(profile, disable_after_failures=3 if profile == "bota" else None)
    first: list[tuple[HealthAction, ...]] = []
    for number, (what, ms) in enumerate(script):
        outcome = "ok" if what == "ok" else "failed"
        dead = "exhausted" if what == "dead" else None
        patient.wait(ms)
        signal = HealthSignal(outcome=outcome, epoch=1, delivery_id=f"d{number}", dead=dead)  # type: ignore[arg-type]
        patient.given.append((signal, number, patient.at_ms))
        first.append(patient.orders_of(signal, number, patient.at_ms))
    state = patient.state
    if state is None:  # forgotten: nothing was ever told of it
        return
    since = data.draw(st.integers(max(0, len(script) - 16), len(script)))
    again = [patient.orders_of(*patient.given[number]) for number in range(since, len(script))]
    assert again == first[since:]
    assert patient.state == state
    decoded = msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=HealthState)
    assert decoded == state


def test_emitted_actions_are_stored_with_their_epoch() -> None:
    patient = Patient("voxscriber")
    for _ in range(5):
        patient.fail()
    assert patient.state is not None
    assert [each.offset for each in patient.state.emitted] == [2, 3, 4]
    assert all(isinstance(each, EmittedActions) and each.epoch == 1 for each in patient.state.emitted)
    ids = {
        order.notice.id for each in patient.state.emitted for order in each.actions if isinstance(order, AppendNotice)
    }
    assert len(ids) == 3


@pytest.mark.parametrize("text", ["a\r\nBcc: x@y", "\x1b[31mred", "‮evil", "x" * 10_000, "a\u2028b"])
def test_foreign_text_is_one_short_line(text: str) -> None:
    line = plain(text)
    assert len(line) <= 300 and line.isprintable()
    patient = Patient("voxscriber")
    for _ in range(4):
        patient.fail(error=text)
    patient.offset += 1
    orders = patient.orders_of(HealthSignal(outcome="failed", epoch=1, delivery_id="d", error=text), 9, START)
    disable = next(order for order in orders if isinstance(order, DisableEndpoint))
    assert disable.reason.isprintable() and len(disable.reason) < 1024


# --- circuits ---------------------------------------------------------------------------------------------------------


def test_each_change_of_a_circuit_is_shown_and_a_lasting_one_causes_one_notice() -> None:
    patient = Patient("bota")
    assert patient.circuit(is_open=True) == ["open"]
    assert patient.wait(60_000).circuit(is_open=True) == ["open"]
    assert patient.wait(300_000).circuit(is_open=True) == ["open", "circuit_opened"]
    assert patient.wait(300_000).circuit(is_open=True) == ["open"]
    patient.wait(60_000).succeed()
    assert patient.circuit(is_open=False) == ["closed", "circuit_closed"]


def test_a_flapping_circuit_causes_at_most_two_notices_an_hour() -> None:
    patient = Patient("bota")
    told: list[str] = []
    for _ in range(60):  # ten hours
        for minutes in (1, 6):
            told += patient.wait(minutes * 60_000).circuit(is_open=True)
        told += patient.wait(180_000).circuit(is_open=False)
    notices = [each for each in told if each.startswith("circuit_")]
    assert 10 <= len(notices) <= 2 * 10, notices


def test_a_short_silence_is_shown_without_a_notice() -> None:
    patient = Patient("bota")
    assert patient.circuit(is_open=True) == ["open"]
    assert patient.wait(120_000).circuit(is_open=False) == ["closed"]


def test_probes_count_for_the_disable_rule_and_the_circuit_itself_does_not() -> None:
    patient = Patient("voxscriber")
    for _ in range(4):
        patient.wait(20_000).fail()
        patient.circuit(is_open=True)
    assert "disable" in patient.wait(300_000).fail()


def test_the_circuit_of_an_earlier_epoch_is_not_shown() -> None:
    patient = Patient("bota")
    mark = HealthSignal(outcome="circuit", epoch=1, circuit=OpenCircuit(since_ms=1, probe_at_ms=2))
    patient.renew()
    assert patient.give(mark) == []
