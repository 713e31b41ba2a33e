"""The log outlives its producers: whatever they give up is sent again, in order, by the next one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import (
    InvalidTimestampError,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    OutOfOrderSequenceNumber,
    ProducerFenced,
)

from app.adapters.kafka import producer as producer_
from app.adapters.kafka.producer import KafkaProducer
from app.core.errors import Defect, RecordTooLarge, Unavailable
from tests.fakes.clock import settle
from tests.kafka import clients_at
from tests.patience import PATIENCE_S

#: (the producer's number, the values of a batch) → what becomes of the batch
Rule = Callable[[int, list[bytes]], Exception | None]


class StubBatch:
    """Takes what fits."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.values: list[bytes] = []

    def append(self, *, key: Any, value: bytes, timestamp: Any, headers: Any) -> object | None:
        if len(self.values) >= self._most:
            return None
        self.values.append(value)
        return object()


class StubProducer:
    """Answers each batch by a rule; its sender task lives until it is stopped."""

    def __init__(self, number: int, broker: StubBroker) -> None:
        self._number = number
        self._broker = broker
        self._sender = SimpleNamespace(sender_task=asyncio.create_task(asyncio.Event().wait()))
        self.client = SimpleNamespace(fetch_all_metadata=self._metadata)
        self.stopped = False

    async def _metadata(self) -> Any:
        return SimpleNamespace(partitions_for_topic=lambda topic: {0})

    def create_batch(self) -> StubBatch:
        return StubBatch(self._broker.batch_records)

    async def send_batch(self, batch: StubBatch, topic: str, *, partition: int) -> asyncio.Future[Any]:
        await self._broker.open.wait()
        if self.stopped:
            raise KafkaTimeoutError("stopped")
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        error = self._broker.rule(self._number, batch.values)
        if error is None:
            future.set_result(SimpleNamespace(offset=len(self._broker.values)))
            self._broker.values += batch.values
            self._broker.by_producer.setdefault(self._number, []).extend(batch.values)
        else:
            future.set_exception(error)
        return future

    async def stop(self) -> None:
        self.stopped = True
        self._sender.sender_task.cancel()


class StubBroker:
    """One partition, and the producers made for it."""

    def __init__(self) -> None:
        self.rule: Rule = lambda number, values: None
        self.batch_records = 1000
        self.values: list[bytes] = []
        self.by_producer: dict[int, list[bytes]] = {}
        self.producers: list[StubProducer] = []
        #: attempts to connect that fail first
        self.unreachable = 0
        #: nothing is answered while it is closed
        self.open = asyncio.Event()
        self.open.set()

    def connect(self) -> StubProducer:
        if self.producers and self.unreachable:
            self.unreachable -= 1
            raise KafkaError("nobody there")
        self.producers.append(StubProducer(len(self.producers), self))
        return self.producers[-1]


class StubbedLog(KafkaProducer):
    """A KafkaLog on stub producers."""

    def __init__(self, broker: StubBroker) -> None:
        super().__init__(clients_at("nowhere:0"), client_id="test")
        self._broker = broker

    async def _connect(self) -> Any:
        return self._broker.connect()


class Bench:
    """A log on a stub broker."""

    def __init__(self) -> None:
        self.broker = StubBroker()
        self.log = StubbedLog(self.broker)

    async def append(self, *values: bytes) -> list[asyncio.Future[int]]:
        return [await self.log.append("t", key=None, value=value, partition=0) for value in values]


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    await made.log.start(["t"])
    yield made
    await made.log.close()
    assert all(producer.stopped for producer in made.broker.producers), "a producer was left behind"


LETTERS = [b"a", b"b", b"c", b"d", b"e"]


@pytest.mark.parametrize("error", [OutOfOrderSequenceNumber, ProducerFenced])
async def test_a_batch_that_was_given_up_renews_the_producer_though_its_sender_lives(
    bench: Bench, error: type[KafkaError]
) -> None:
    bench.broker.rule = lambda number, values: error() if number == 0 else None
    acks = await bench.append(*LETTERS)
    alive = bench.broker.producers[0]._sender.sender_task
    assert not alive.done()
    assert await asyncio.gather(*acks) == [0, 1, 2, 3, 4]
    assert bench.broker.by_producer == {1: LETTERS}
    assert [producer.stopped for producer in bench.broker.producers] == [True, False]


async def test_acknowledged_records_are_not_sent_again_and_later_ones_keep_their_order(bench: Bench) -> None:
    bench.broker.batch_records = 2
    bench.broker.rule = lambda number, values: (
        OutOfOrderSequenceNumber() if number == 0 and values == [b"c", b"d"] else None
    )
    assert await asyncio.gather(*await bench.append(*LETTERS)) == [0, 1, 2, 3, 4]
    assert bench.broker.by_producer == {0: [b"a", b"b"], 1: [b"c", b"d", b"e"]}


async def test_channels_that_fail_together_renew_the_producer_once(bench: Bench) -> None:
    bench.broker.rule = lambda number, values: OutOfOrderSequenceNumber() if number == 0 else None
    acks = [await bench.log.append("t", key=None, value=b"%d" % n, partition=n) for n in range(5)]
    await asyncio.gather(*acks)
    assert len(bench.broker.producers) == 2


async def test_renewing_goes_on_until_the_broker_is_there(bench: Bench) -> None:
    bench.broker.unreachable = 1
    bench.broker.rule = lambda number, values: OutOfOrderSequenceNumber() if number == 0 else None
    assert await asyncio.gather(*await bench.append(b"a", b"b")) == [0, 1]


async def test_a_record_that_is_too_large_fails_alone(bench: Bench) -> None:
    bench.broker.rule = lambda number, values: MessageSizeTooLargeError() if b"c" in values else None
    answers = await asyncio.gather(*await bench.append(*LETTERS), return_exceptions=True)
    assert [type(answer) for answer in answers] == [int, int, RecordTooLarge, int, int]
    assert bench.broker.values == [b"a", b"b", b"d", b"e"]


async def test_records_with_a_timestamp_far_ahead_fail_and_later_ones_do_not(bench: Bench) -> None:
    bench.broker.batch_records = 2
    bench.broker.rule = lambda number, values: InvalidTimestampError() if values == [b"a", b"b"] else None
    answers = await asyncio.gather(*await bench.append(*LETTERS), return_exceptions=True)
    assert [type(answer) for answer in answers] == [Unavailable, Unavailable, int, int, int]


@pytest.mark.parametrize("error", [None, MessageSizeTooLargeError()], ids=["acknowledged", "failed"])
async def test_room_opens_again_after_acknowledgements(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    monkeypatch.setattr(producer_, "_ROOM_BYTES", 1000)
    bench.broker.open.clear()
    bench.broker.rule = lambda number, values: error
    (big,) = await bench.append(bytes(2000))
    waiting = asyncio.create_task(bench.log.room())
    await settle()
    assert not waiting.done() and not big.done()
    bench.broker.open.set()
    async with asyncio.timeout(PATIENCE_S):
        await waiting
    assert isinstance(big.exception(), RecordTooLarge) if error else big.result() == 0


async def test_a_defect_fails_the_waiting_records_and_the_producer_continues(bench: Bench) -> None:
    bench.broker.batch_records = 0  # a batch that takes nothing
    answers = await asyncio.gather(*await bench.append(b"a", b"b"), return_exceptions=True)
    assert [type(answer) for answer in answers] == [Defect, Defect]
    bench.broker.batch_records = 1000
    assert await asyncio.gather(*await bench.append(b"c")) == [0]
