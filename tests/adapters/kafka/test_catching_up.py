"""How many queries for the end of a compacted topic the callers of `catch_up` cause, and which answers suffice."""

from __future__ import annotations

import asyncio
from time import monotonic
from unittest.mock import Mock

from app.adapters.kafka.directory_feed import CompactedTopicReader
from app.adapters.kafka.log_end import LogEnd
from tests.kafka import clients_at
from tests.patience import PATIENCE_S


class _Broker:
    """Answers queries for the end when it is told to; nothing was ever appended."""

    def __init__(self) -> None:
        self.queries = 0
        self.answers = asyncio.Event()

    async def get(self) -> int:
        self.queries += 1
        await self.answers.wait()
        return 0


def reader() -> tuple[CompactedTopicReader, _Broker]:
    table = CompactedTopicReader(clients_at("localhost:1"), "registry", client_id="test", apply=Mock())
    broker = _Broker()
    table._stable_end = Mock(spec=LogEnd, get=broker.get)
    return table, broker


async def begun(work: asyncio.Task[None]) -> None:
    """Let a task run until it waits for an answer."""
    for _ in range(5):
        await asyncio.sleep(0)
    assert not work.done()


async def test_batches_of_one_poll_share_a_query() -> None:
    table, broker = reader()
    polled_at = monotonic()
    batches = [asyncio.create_task(table.catch_up(polled_at)) for _ in range(12)]
    await begun(batches[-1])
    broker.answers.set()
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(*batches)
    await table.catch_up(polled_at)
    assert broker.queries == 1


async def test_a_query_that_was_sent_before_the_poll_does_not_suffice() -> None:
    table, broker = reader()
    early = asyncio.create_task(table.catch_up(monotonic()))
    await begun(early)
    late = [asyncio.create_task(table.catch_up(monotonic())) for _ in range(3)]
    await begun(late[-1])
    assert broker.queries == 1 and not any(each.done() for each in late)
    broker.answers.set()
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(early, *late)
    assert broker.queries == 2, "the three share the next one"


async def test_a_batch_of_a_later_poll_joins_the_query_that_waited_for_its_turn() -> None:
    table, broker = reader()
    first = asyncio.create_task(table.catch_up(monotonic()))
    await begun(first)
    second = asyncio.create_task(table.catch_up(monotonic()))
    await begun(second)
    polled_at = monotonic()
    broker.answers.set()
    async with asyncio.timeout(PATIENCE_S):
        await first
        await asyncio.gather(second, table.catch_up(polled_at))
    assert broker.queries == 2


async def test_without_a_time_the_query_is_sent_after_the_call() -> None:
    table, broker = reader()
    first = asyncio.create_task(table.catch_up())
    await begun(first)
    second = asyncio.create_task(table.catch_up())
    await begun(second)
    broker.answers.set()
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(first, second)
    assert broker.queries == 2
