"""Queues of waiting deliveries: in order, bounded, each handed out once."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from app.roles.replay.queues import EndpointQueues, QueuedDelivery


def everything(_endpoint_id: str) -> int:
    return 1000


def always(_endpoint_id: str) -> bool:
    return True


def of(**free: int) -> Callable[[str], int]:
    return lambda endpoint_id: free.get(endpoint_id, 0)


def items(taken: list[QueuedDelivery[int]]) -> list[tuple[str, int]]:
    return [(each.endpoint_id, each.item) for each in taken]


def test_a_slow_endpoint_stays_in_order_and_holds_back_no_other() -> None:
    queues: EndpointQueues[int] = EndpointQueues()
    for offset in range(3):
        queues.put((0, offset), "slow", offset, 1)
        queues.put((0, offset), "fast", offset, 1)
    taken = queues.take(9, of(slow=1, fast=9))
    assert items(taken) == [("slow", 0), ("fast", 0), ("fast", 1), ("fast", 2)]
    assert items(queues.take(9, of(slow=1))) == [("slow", 1)]
    for each in taken:
        queues.done(each, "deliver")
    assert queues.low({0: 3, 1: 7}) == {0: 1, 1: 7}, "what is out and not acknowledged is not done"
    assert queues.above({0: 1}) == {"deliver": 2} and queues.above({0: 0}) == {"deliver": 4}


def test_endpoints_are_served_round_robin() -> None:
    queues: EndpointQueues[int] = EndpointQueues()
    for offset in range(4):
        for name in ("a", "b", "c"):
            queues.put((0, offset), name, offset, 1)
    assert [each.endpoint_id for _ in range(6) for each in queues.take(1, everything)] == ["a", "b", "c", "a", "b", "c"]


def test_waiting_deliveries_are_bounded_by_number_and_bytes() -> None:
    queues: EndpointQueues[int] = EndpointQueues(capacity=3, capacity_bytes=100)
    for offset in range(3):
        assert not queues.full
        queues.put((0, offset), "a", offset, 1)
    assert queues.full and queues.overflow(9, always) == [], "nobody else waits"
    queues.take(1, everything)
    queues.put((0, 3), "b", 3, 100)
    assert queues.full
    assert queues.overflow(9, lambda endpoint_id: endpoint_id == "a") == [], "b only has to wait its turn"
    assert items(queues.overflow(9, always)) == [("a", 1), ("a", 2)]
    assert queues.full, "by its bytes"
    queues.take(1, everything)
    assert not queues.full and queues.waiting == 0


def test_nothing_is_handed_out_again_in_the_next_run() -> None:
    queues: EndpointQueues[int] = EndpointQueues()
    for offset in range(3):
        queues.put((0, offset), "slow", offset, 1)
        queues.put((0, offset), "fast", offset, 1)
    for each in queues.take(9, of(slow=1, fast=9)):
        queues.done(each, "deliver")
    done = queues.low({0: 3})
    assert done == {0: 1}
    queues.begin(done)
    for offset in range(1, 3):
        queues.put((0, offset), "slow", offset, 1)
        queues.put((0, offset), "fast", offset, 1)
    assert items(queues.take(9, everything)) == [("slow", 1), ("slow", 2)]


places = st.lists(st.tuples(st.integers(0, 1), st.sampled_from("abc")), max_size=60)


@given(places, st.integers(1, 5), st.integers(0, 3))
def test_everything_is_handed_out_once_whatever_interrupts_it(
    arrivals: list[tuple[int, str]], most: int, stop_every: int
) -> None:
    wanted = [((partition, offset), name) for offset, (partition, name) in enumerate(arrivals)]
    ends = {0: len(arrivals), 1: len(arrivals)}
    queues: EndpointQueues[int] = EndpointQueues(capacity=5)
    done, given_out, turns = {0: 0, 1: 0}, list[tuple[tuple[int, int], str]](), 0
    while done != ends:
        queues.begin(done)
        rest = [each for each in wanted if each[0][1] >= done[each[0][0]]]
        turns += 1
        steps = 0
        read = dict(done)
        while rest or queues.waiting:
            while rest and not queues.full:
                position, name = rest.pop(0)
                queues.put(position, name, 0, 1)
                read[position[0]] = position[1] + 1
            taken = queues.take(most, of(a=2, b=1, c=0 if steps % 2 else 1))
            for each in taken:
                queues.done(each, "deliver")
                given_out.append((each.position, each.endpoint_id))
            done = queues.low(read if rest else ends)
            open_ = set(wanted) - set(given_out)
            assert all(position[1] >= done[position[0]] for position, _ in open_), "nothing that is open is passed"
            steps += 1
            if stop_every and steps > stop_every and turns < 4:
                break
        else:
            done = queues.low(ends)
    assert sorted(given_out) == sorted(wanted)
