"""Wide fan-out: events that match very many endpoints in one partition, and another tenant's events in another.

As a child it is given a `Task` (`count` events, each matching `endpoints` endpoints), and answers with a `Wide`.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import msgspec
import uvloop

from app.adapters.kafka.directory_feed import KafkaDirectoryFeed
from app.adapters.kafka.producer import KafkaProducer
from app.adapters.telemetry.metrics import PrometheusMeter
from app.core.directory import Directory
from app.core.errors import HookstreamError
from app.core.model.endpoint import Endpoint
from app.core.model.ids import delivery_id
from app.core.topics.names import TopicName
from app.ports.producer import RecordHeaders
from app.runtime.build.streams import fanout_role
from app.runtime.topics import topics_of
from tests.bench.stage import Stage, Task, answer, begin, settings_of
from tests.kafka import clients_at
from tests.shared import shared_by

#: between two looks at the loop
_LOOK_S = 0.005
#: between two events of the other tenant
_OTHER_S = 0.1
#: no measurement takes longer
_LONGEST_S = 1800.0


class Wide(msgspec.Struct, frozen=True, kw_only=True):
    """What a child has measured."""

    endpoints: int
    events: int
    seconds: float
    #: how late a sleep of 5 ms ended, at worst
    lag_ms: float
    #: the same without the time in which the machine gave this thread no processor
    own_lag_ms: float
    grown_mib: float
    #: the other tenant's events, appended → its delivery acknowledged
    others: int
    other_p50_ms: float
    other_slowest_ms: float

    @property
    def per_second(self) -> float:
        """Deliveries."""
        return self.endpoints * self.events / self.seconds


class _CountingLog(KafkaProducer):
    """Notes acknowledgements of deliveries: how many, and when those of one endpoint's were."""

    watched = b"ep_other"
    deliveries = ""
    counted = 0

    def __init__(self, bootstrap: str) -> None:
        super().__init__(clients_at(bootstrap), client_id="bench")
        self.times: list[float] = []

    def enqueue(
        self,
        topic: str,
        partition: int | None,
        key: bytes | None,
        value: bytes | None,
        headers: RecordHeaders,
        acked: Callable[[int], None],
        failed: Callable[[HookstreamError], None],
    ) -> int:
        if topic != self.deliveries:
            return super().enqueue(topic, partition, key, value, headers, acked, failed)

        def noted(offset: int) -> None:
            if key == self.watched:
                self.times.append(time.perf_counter())
            else:
                self.counted += 1
            acked(offset)

        return super().enqueue(topic, partition, key, value, headers, noted, failed)


class _Probe:
    """How late the loop is, and how large the process."""

    def __init__(self) -> None:
        self.lag_s = self.own_lag_s = 0.0
        self._begun = self._most = _resident()

    @property
    def grown_mib(self) -> float:
        return (self._most - self._begun) / 1048576

    async def run(self) -> None:
        while True:
            for _ in range(20):
                begun, denied = time.perf_counter(), _denied_s()
                await asyncio.sleep(_LOOK_S)
                late = time.perf_counter() - begun - _LOOK_S
                self.lag_s = max(self.lag_s, late)
                self.own_lag_s = max(self.own_lag_s, late - (_denied_s() - denied))
            self._most = max(self._most, _resident())


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _denied_s() -> float:
    """How long this thread was ready to run, and did not."""
    return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9


async def role(task: Task) -> Wide:
    """The fan-out role over wide events that wait in partition 0, while others come to partition 1."""
    settings = settings_of(task)
    topics = topics_of(settings)
    meter = PrometheusMeter()
    log = _CountingLog(task.bootstrap)
    log.deliveries = topics.name(TopicName.DELIVERIES)
    await log.start(topics.all_names())
    feed = KafkaDirectoryFeed(
        clients_at(task.bootstrap), topics.name(TopicName.REGISTRY), client_id="bench", directory=Directory()
    )
    await feed.start()
    _register(feed.directory, task.endpoints)
    raw = topics.name(TopicName.EVENTS_RAW)
    for number in range(task.count):
        await log.append(raw, key=b"wide", value=_event("wide", number), partition=0)
    worker = fanout_role(shared_by(settings, clients_at(task.bootstrap), log, feed, meter))
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)  # as app/cli/connect/process_context.py does for the product
    running = asyncio.create_task(worker.run())
    while worker.ready() is not None:
        await asyncio.sleep(0.01)
    await asyncio.sleep(1)
    probe = _Probe()
    looking = asyncio.create_task(probe.run())
    begun = time.perf_counter()
    before, sent = log.counted, []
    while log.counted < task.count * task.endpoints:
        assert not running.done() and time.perf_counter() - begun < _LONGEST_S, "fan-out has ended, or takes too long"
        sent.append(time.perf_counter())
        await log.append(raw, key=b"other", value=_event("other", len(sent)), partition=1)
        await asyncio.sleep(_OTHER_S)
    share = 1 - before / (task.count * task.endpoints)
    seconds = (time.perf_counter() - begun) / share
    while len(log.times) < len(sent):
        await asyncio.sleep(0.01)
    looking.cancel()
    running.cancel()
    await asyncio.gather(running, looking, return_exceptions=True)
    await feed.stop()
    await log.close()
    ages = [(done - begun) * 1000 for begun, done in zip(sent, log.times, strict=True)]
    return Wide(
        endpoints=task.endpoints,
        events=task.count,
        seconds=seconds,
        lag_ms=probe.lag_s * 1000,
        own_lag_ms=probe.own_lag_s * 1000,
        grown_mib=probe.grown_mib,
        others=len(sent),
        other_p50_ms=median(ages),
        other_slowest_ms=max(ages),
    )


def _register(directory: Directory, endpoints: int) -> None:
    for number in range(endpoints):
        name = delivery_id("wide", "endpoint", str(number), "").replace("dlv", "ep")
        directory.put_endpoint(_endpoint(name, "wide"))
    directory.put_endpoint(_endpoint(_CountingLog.watched.decode(), "other"))


def _endpoint(id_: str, tenant: str) -> Endpoint:
    return Endpoint(id=id_, tenant=tenant, mode="live", url="https://example.com/", events=("*",), profile="standard")


def _event(tenant: str, number: int) -> bytes:
    return b'{"type":"bench.event","id":"evt_%06d","tenant":"%s","data":{"n":%d}}' % (number, tenant.encode(), number)


async def measure(stage: Stage, endpoints: int, events: int) -> Wide:
    """One run; it takes about a second for each 20,000 deliveries."""
    stage.pin_others(apart=True)
    prefix, _topics = await stage.topics()
    task = Task(
        bootstrap=stage.bootstrap,
        prefix=prefix,
        receiver=stage.receiver,
        count=events,
        endpoints=endpoints,
        data_dir=stage.folder(),
    )
    return await stage.measure(__spec__.name, task, kind=Wide, within_s=_LONGEST_S)


if __name__ == "__main__":
    answer(uvloop.run(role(begin(sys.argv[1]))))
