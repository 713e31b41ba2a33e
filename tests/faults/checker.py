"""The judge of a round: from what is in Kafka and what receivers have seen, every guarantee that was broken.

Pure: it shares no code with the service and asks it nothing.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.faults.cluster import Window
from tests.faults.observer import Seen
from tests.faults.receiver import Hit

#: what ended so long before a fault was committed when it began, and may not be sent again; longer on a slow machine,
#: by what its attempt records take to be read in the same round (`record_lag`)
COMMITTED_S = 0.6
#: what was handled while a fault lasted reaches receivers so long afterwards: a dead session, a rebalance
AFTERMATH_S = 5.0
FINAL = {"delivered", "dead", "cancelled"}
#: what the service tells of an attempt that no receiver can have seen, and how many of them a busy machine explains
UNSENT, UNSENT_SHARE = re.compile("no connection within|^token:"), 0.10
TIMEOUT = "timeout"
#: a copy of an ordered delivery turned up behind its successor
OUTRUN = "superseded"
#: kept for the resume of an endpoint: no end
ASIDE = "paused"


@dataclass(slots=True)
class Target:
    """One endpoint of a round, and what it should get."""

    endpoint: str
    path: str
    #: event types; empty: every `order.*`
    types: frozenset[str] = frozenset()
    #: its filter; None: no event is refused
    accepts: Callable[[Mapping[str, Any]], bool] | None = None
    #: the ids of all that it should get, where its subscription has changed meanwhile
    only: set[str] | None = None
    fifo: bool = False
    attempts: int = 4
    #: its receiver never says yes
    dead: bool = False


@dataclass(slots=True)
class Verdict:
    """What a round has shown."""

    events: int = 0
    deliveries: int = 0
    requests: int = 0
    delivered: int = 0
    dead: int = 0
    cancelled: int = 0
    lost: int = 0
    sent_again: int = 0
    #: how many could have been sent again: what was in flight or had just ended when a fault began or lasted
    bound: int = 0
    dropped: int = 0
    #: given up in one run of attempts and delivered in another, which a fault had begun: that it is delivered counts
    ended_twice: int = 0
    #: requests of an ordering key that began while one of another delivery lasted
    overlaps: int = 0
    #: attempts that found no connection in time: a machine that is busy with other things has some
    unconnected: int = 0
    #: deliveries of which more than one attempt number was sent more than once: two runs side by side
    forked: int = 0
    broken: list[str] = field(default_factory=list)


def accepted(seen: Seen) -> dict[str, dict[str, Any]]:
    """Events by id: the first record of each; its producer's duplicates are dropped."""
    first: dict[str, dict[str, Any]] = {}
    for _, _, event in sorted(seen.events, key=lambda each: each[:2]):
        first.setdefault(event["id"], event)
    return first


def wanted(target: Target, events: dict[str, dict[str, Any]]) -> set[str]:
    """The ids of the events that the target should get."""
    if target.only is not None:
        return target.only
    return {
        key
        for key, event in events.items()
        if (event["type"] in target.types if target.types else event["type"].startswith("order."))
        and (target.accepts is None or target.accepts(event))
    }


def finals(seen: Seen) -> dict[tuple[str, str], set[str]]:
    """(endpoint, event) → its final states."""
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for attempt in seen.attempts:
        # A copy that its successor in the line outran is no end: its delivery had one before.
        if attempt["state"] in FINAL and attempt.get("result") != ASIDE and attempt.get("reason") != OUTRUN:
            found[attempt["endpoint_id"], attempt["event_id"]].add(attempt["state"])
    return found


def complete(seen: Seen, targets: Sequence[Target]) -> bool:
    """Whether every delivery has come to an end."""
    events, ended = accepted(seen), finals(seen)
    return all((target.endpoint, event) in ended for target in targets for event in wanted(target, events))


def shown(seen: Seen, targets: Sequence[Target], rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Where the read model's deliveries are not those that should be there, or stand otherwise than Kafka says."""
    events, ended = accepted(seen), finals(seen)
    states: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in rows:
        states[row["endpoint"], row["event_id"]].append(row["state"])
    for target in targets:
        for event in sorted(wanted(target, events)):
            name = (target.endpoint, event)
            said, known = states.pop(name, []), ended.get(name, set())
            best = "delivered" if "delivered" in known else next(iter(known), "none")
            if said != [best]:
                yield f"{target.path} {event}: {best}, and the read model says {said or 'nothing'}"
    yield from (f"the read model has {name}, which nobody should have got" for name in states)


def judge(
    seen: Seen, targets: Sequence[Target], hits: Sequence[Hit], windows: Sequence[Window], *, orderly: bool = False
) -> Verdict:
    """All of it. `orderly`: nothing was killed, frozen or cut, so that no delivery has a reason for two runs."""
    events, ended = accepted(seen), finals(seen)
    verdict = Verdict(events=len(events), requests=len(hits), dropped=len(seen.events) - len(events))
    by_path: dict[str, list[Hit]] = defaultdict(list)
    for hit in hits:
        by_path[hit.path].append(hit)
    slack = record_lag(seen, targets, hits, windows)
    for target in targets:
        mine = by_path.pop(target.path, [])
        expected, unheard = wanted(target, events), _unheard(target, seen)
        verdict.deliveries += len(expected)
        verdict.broken += _states(verdict, target, expected, ended, mine, seen, unheard)
        verdict.broken += _strangers(target, expected, mine)
        verdict.broken += _attempts(verdict, target, mine, seen)
        verdict.broken += _sequences(target, mine)
        if target.fifo:
            verdict.broken += _order(target, mine, unheard)
            verdict.broken += _overlaps(verdict, target, mine, unheard)
        verdict.broken += _forks(verdict, target, mine, orderly=orderly)
        verdict.broken += _repetitions(verdict, target, mine, windows, slack)
    verdict.broken += [f"{path}: {len(left)} requests that nobody should have sent" for path, left in by_path.items()]
    return verdict


def record_lag(seen: Seen, targets: Sequence[Target], hits: Iterable[Hit], windows: Sequence[Window]) -> float:
    """Seconds that the slowest attempt record of this round took from the end of its request until it was read.

    Only requests that ended before anything went wrong count. A commit follows the record, so what a loaded machine
    adds to the one it adds to the other: no constant of the judge is a bet on the machine's speed.
    """
    endpoints = {target.path: target.endpoint for target in targets}
    begun = min((window.begun for window in windows), default=float("inf"))
    lags = [
        seen.read_at[name] - hit.ended
        for hit in hits
        if hit.ended < begun and (name := (hit.event_id, endpoints.get(hit.path, ""), hit.attempt)) in seen.read_at
    ]
    return max(0.0, *lags) if lags else 0.0


def _states(
    verdict: Verdict,
    target: Target,
    expected: set[str],
    ended: dict[tuple[str, str], set[str]],
    hits: list[Hit],
    seen: Seen,
    unheard: Mapping[str, set[int]],
) -> Iterator[str]:
    """Exactly one final state for each delivery, and it says what the receiver and the dead letters say."""
    taken = {hit.event_id for hit in hits if hit.succeeded}
    # A receiver that said yes only after the timeout of its attempt may have a delivery that is dead.
    in_time = {hit.event_id for hit in hits if hit.succeeded and hit.attempt not in unheard.get(hit.event_id, ())}
    runs = Counter((hit.event_id, hit.attempt) for hit in hits)
    twice = {event for (event, _), times in runs.items() if times > 1}
    letters = {event for event, endpoint, reason in seen.dead if endpoint == target.endpoint and reason != ASIDE}
    for event in sorted(expected):
        states = ended.get((target.endpoint, event), set())
        if states == {"dead", "delivered"} and event in twice:  # whether a fault explains it, `_repetitions` judges
            verdict.ended_twice += 1
            states = {"delivered"}
        if len(states) != 1:
            verdict.lost += not states
            made = [
                (each["attempt"], each["state"], each["result"], each["started_at"])
                for each in seen.attempts
                if (each["endpoint_id"], each["event_id"]) == (target.endpoint, event)
            ]
            yield f"{target.path} {event}: final states {sorted(states) or 'none'}, attempts {made}"
            continue
        (state,) = states
        match state:
            case "delivered":
                verdict.delivered += 1
                if event not in taken:
                    verdict.lost += 1
                    yield f"{target.path} {event}: said to be delivered, and the receiver never took it"
            case "dead":
                verdict.dead += 1
                if event not in letters:
                    verdict.lost += 1
                    yield f"{target.path} {event}: dead without a dead letter"
                if event in in_time:
                    yield f"{target.path} {event}: dead, and the receiver has taken it"
            case _:
                verdict.cancelled += 1
                yield f"{target.path} {event}: cancelled, and nobody has asked for that"


def _strangers(target: Target, expected: set[str], hits: Iterable[Hit]) -> Iterator[str]:
    """Only what was subscribed to, with a signature that holds."""
    for hit in hits:
        if hit.event_id not in expected:
            yield f"{target.path}: got {hit.event_id or 'a request without an id'}, which is not for it"
        if not hit.verified:
            yield f"{target.path} {hit.event_id}: the signature does not hold"
        if hit.missing:
            yield f"{target.path} {hit.event_id}: the request is without {hit.missing}"


def _unheard(target: Target, seen: Seen) -> dict[str, set[int]]:
    """Event → numbers of the attempts that ended without an answer in time, says the service; maybe unconnected."""
    numbers: dict[str, set[int]] = defaultdict(set)
    for each in seen.attempts:
        if each["endpoint_id"] == target.endpoint and each["result"] == TIMEOUT:
            numbers[each["event_id"]].add(each["attempt"])
    return dict(numbers)


def _attempts(verdict: Verdict, target: Target, hits: Sequence[Hit], seen: Seen) -> Iterator[str]:
    """Attempts are numbered from 1 without gaps, and never more than the schedule has."""
    numbers: dict[str, set[int]] = defaultdict(set)
    for hit in hits:
        numbers[hit.event_id].add(hit.attempt)
    told: dict[str, dict[int, str]] = defaultdict(dict)
    for each in seen.attempts:
        if (
            each["endpoint_id"] == target.endpoint and each["result"] != ASIDE
        ):  # it has the number of the attempt before
            told[each["event_id"]][each["attempt"]] = f"{each['result']}: {each.get('error') or ''}"
    late = 0
    for event, made in numbers.items():
        unconnected = {number for number, error in told[event].items() if UNSENT.search(error)}
        late += len(unconnected - made)
        last = max(made | unconnected)
        if made | unconnected != set(range(1, last + 1)):
            yield f"{target.path} {event}: attempts {sorted(made)}, and the service tells of {told[event]}"
        if last > target.attempts:
            yield f"{target.path} {event}: {last} attempts, and the schedule has {target.attempts}"
    verdict.unconnected += late
    if late > max(5, len(hits) * UNSENT_SHARE):
        yield f"{target.path}: {late} attempts found no connection in time, beside {len(hits)} that did"


def _sequences(target: Target, hits: Iterable[Hit]) -> Iterator[str]:
    """Each ordering key counts from 1 without gaps, and an event keeps its number."""
    numbers: dict[str, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
    for hit in hits:
        if hit.ordering_key:
            numbers[hit.ordering_key][hit.event_id].add(hit.sequence)
    for key, of_events in numbers.items():
        # an endpoint that takes some types only sees the gaps of the others
        if any(len(each) > 1 for each in of_events.values()):
            yield f"{target.path} {key}: an event with two sequences"
        counted = sorted(min(each) for each in of_events.values())
        if not target.types and target.accepts is None and counted != list(range(1, len(counted) + 1)):
            yield f"{target.path} {key}: sequences with gaps or twice, {len(counted)} events up to {counted[-1]}"


def _order(target: Target, hits: Iterable[Hit], unheard: Mapping[str, set[int]]) -> Iterator[str]:
    """A delivery begins only after all before it in its key have succeeded, or have used up their attempts.

    After the timeout of a last attempt the receiver may still be busy with it, or may never have seen it.
    """
    used_up = {event for event, numbers in unheard.items() if max(numbers) >= target.attempts}
    lines: dict[str, list[Hit]] = defaultdict(list)
    for hit in hits:
        lines[hit.ordering_key].append(hit)
    for key, line in lines.items():
        over: dict[int, float] = {}
        for hit in sorted(line, key=lambda each: each.ended):
            if hit.succeeded or hit.attempt >= target.attempts:
                over.setdefault(hit.sequence, hit.started if hit.event_id in used_up else hit.ended)
        for hit in sorted(line, key=lambda each: each.ended, reverse=True):
            if hit.event_id in used_up:
                over.setdefault(hit.sequence, hit.ended)
        # an endpoint that takes some types only waits for the one of them that was before
        numbers = sorted({hit.sequence for hit in line})
        ahead = dict(zip(numbers[1:], numbers, strict=False))
        for hit in line:
            before = over.get(ahead[hit.sequence], float("inf")) if hit.sequence in ahead else 0.0
            if hit.started < before:
                yield f"{target.path} {key}: sequence {hit.sequence} began before {ahead[hit.sequence]} was over"


def _overlaps(verdict: Verdict, target: Target, hits: Iterable[Hit], unheard: Mapping[str, set[int]]) -> Iterator[str]:
    """Of an ordering key one request at a time; one that is repeated may still be under way at the receiver.

    So may one after its timeout; that its delivery was over when the next one began, `_order` judges.
    """
    lines: dict[str, list[Hit]] = defaultdict(list)
    for hit in sorted(hits, key=lambda each: each.started):
        lines[hit.ordering_key].append(hit)
    for key, line in lines.items():
        lasting: list[Hit] = []
        for hit in line:
            lasting = [each for each in lasting if each.ended > hit.started]
            for each in lasting:
                if each.event_id != hit.event_id and each.attempt not in unheard.get(each.event_id, ()):
                    verdict.overlaps += 1
                    yield f"{target.path} {key}: sequence {hit.sequence} began while {each.sequence} was under way"
            lasting.append(hit)


def _forks(verdict: Verdict, target: Target, hits: Iterable[Hit], *, orderly: bool) -> Iterator[str]:
    """A delivery that is attempted twice goes on once."""
    runs = Counter((hit.event_id, hit.attempt) for hit in hits if not hit.cut)
    twice = Counter(event for (event, _), times in runs.items() if times > 1)
    for event, numbers in twice.items():
        if numbers > 1:
            verdict.forked += 1
            if orderly:
                yield f"{target.path} {event}: {numbers} attempts were made twice each: two runs side by side"


def _repetitions(
    verdict: Verdict, target: Target, hits: Iterable[Hit], windows: Sequence[Window], slack: float
) -> Iterator[str]:
    """What is sent again was in flight, or had just ended, when something went wrong."""
    sent: Counter[tuple[str, int]] = Counter()
    ended: dict[tuple[str, int], float] = {}
    cut: Counter[tuple[str, int]] = Counter()
    committed_s, aftermath_s = COMMITTED_S + slack, AFTERMATH_S + slack
    for hit in sorted(hits, key=lambda each: each.started):
        name = (hit.event_id, hit.attempt)
        disturbed = any(
            hit.ended >= window.begun - committed_s and hit.started <= window.ended + aftermath_s for window in windows
        )
        verdict.bound += disturbed
        if sent[name]:
            known = ended[name]
            explained = any(window.begun - committed_s <= known for window in windows if window.begun <= hit.started)
            # a kept connection that brought no answer: the request goes out once more (docs/guarantees.md, 2)
            by_the_receiver = cut[name] == sent[name] == 1
            verdict.sent_again += not by_the_receiver
            if not explained and not by_the_receiver:
                yield f"{target.path} {hit.event_id}: attempt {hit.attempt} again, and no fault explains it"
        sent[name] += 1
        cut[name] += hit.cut
        ended[name] = hit.ended
