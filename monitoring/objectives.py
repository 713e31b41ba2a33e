"""The three service level objectives, their recording rules, and the alerts on how fast each uses up its error budget.

An alert compares the share of bad events in two windows with a multiple of the budget: the long window says that it
matters, the short one that it has not ended. 14.4 times the budget uses up 2 % of the budget of thirty days in an hour;
6 times uses up 5 % in six hours.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from monitoring.rule import Alert, Recording

_POSTS = 'route="/v1/events",method="POST"'


class Objective(NamedTuple):
    """An objective: how many of all events must be good."""

    #: part of the names of its series
    name: str
    alert: str
    #: what is good, in words
    meaning: str
    #: share of events that may be bad
    budget: float
    #: the counters of all events and of the good ones
    total: str
    good: str
    #: fewer bad events than that in the long window alert nobody: with little traffic a single one is a large share
    least_bad: int

    def series(self, kind: str, window: str) -> str:
        """The name of a recorded series: `total` or `bad` events per second, or the `errors` ratio."""
        return f"hookstream:slo_{self.name}_{kind}:rate{window}"

    @property
    def objective(self) -> str:
        """The objective in percent."""
        return f"{100 * (1 - self.budget):g} %"


OBJECTIVES = (
    Objective(
        name="accept",
        alert="HookstreamAcceptanceBudgetBurn",
        meaning="POST /v1/events answers 2xx within 250 ms (requests that the client got wrong are not counted)",
        budget=0.0005,
        total="hookstream_http_server_request_duration_seconds_count{" + _POSTS + ',code=~"2..|5.."}',
        good="hookstream_http_server_request_duration_seconds_bucket{" + _POSTS + ',code=~"2..",le="0.25"}',
        least_bad=10,
    ),
    Objective(
        name="first_attempt",
        alert="HookstreamFirstAttemptBudgetBurn",
        meaning="the first attempt of a delivery starts within 5 s of the event's append",
        budget=0.01,
        total="hookstream_first_attempt_delay_seconds_count",
        good='hookstream_first_attempt_delay_seconds_bucket{le="5.0"}',
        least_bad=10,
    ),
    Objective(
        name="delivery",
        alert="HookstreamDeliveryBudgetBurn",
        meaning="a delivery to a healthy endpoint ends as delivered, not as dead",
        budget=0.001,
        total='hookstream_healthy_endpoint_deliveries_total{outcome=~"delivered|dead"}',
        good='hookstream_healthy_endpoint_deliveries_total{outcome="delivered"}',
        least_bad=10,
    ),
)
WINDOWS = {"5m": 300, "30m": 1800, "1h": 3600, "6h": 21_600}


class Burn(NamedTuple):
    """A pair of windows."""

    factor: float
    short: str
    long: str


FAST, SLOW = Burn(14.4, "5m", "1h"), Burn(6, "30m", "6h")


def recordings() -> Iterator[Recording]:
    """For each objective and window the events per second, the bad ones, and the ratio."""
    for each in OBJECTIVES:
        for window in WINDOWS:
            total = f"sum by (namespace) (rate({each.total}[{window}]))"
            good = f"sum by (namespace) (rate({each.good}[{window}]))"
            yield Recording(each.series("total", window), total)
            # no good event since the start means no series of good events
            yield Recording(
                each.series("bad", window),
                f"{each.series('total', window)} - ({good} or {each.series('total', window)} * 0)",
            )
            yield Recording(
                each.series("errors", window),
                f"{each.series('bad', window)} / ({each.series('total', window)} > 0)",
            )


def alerts() -> Iterator[Alert]:
    """For each objective a fast burn that wakes somebody and a slow one that does not."""
    for each in OBJECTIVES:
        for burn in (FAST, SLOW):
            limit = f"{burn.factor:g} * {each.budget:g}"
            yield Alert(
                name=each.alert,
                severity="critical" if burn is FAST else "warning",
                lasts="2m" if burn is FAST else "15m",
                expr=(
                    f"({each.series('errors', burn.long)} > {limit}\n"
                    f"and {each.series('errors', burn.short)} > {limit}\n"
                    f"and {each.series('bad', burn.long)} * {WINDOWS[burn.long]} > {each.least_bad})\n"
                    f"unless on (namespace) max_over_time(hookstream:kafka_down[{burn.short}]) > 0"
                ),
                summary=f"{{{{ $value | humanizePercentage }}}} of events miss the objective: {each.meaning}",
                description=(
                    f"The objective is {each.objective}. In the last {burn.long} its error budget was used up "
                    f"{burn.factor:g} times as fast as it may be, and in the last {burn.short}, too."
                ),
            )
