"""How many processes, partitions and bytes a load needs: the model of docs/deploy/sizing.md.

The costs are measured by `make bench` on one slow core. Half of each core is left free, for peaks and rebalances.
"""

from __future__ import annotations

from math import ceil

import msgspec

#: microseconds of CPU for each delivery in bulk
FANOUT_US, DISPATCH_US, PROJECTION_US = 28.0, 135.0, 132.0
#: role → milliseconds of CPU for a delivery that arrives alone, and the cores of a process from which batches grow
ALONE: dict[str, tuple[float, float]] = {"fanout": (2.0, 0.5), "dispatch": (1.1, 0.25)}
#: bytes of memory for each endpoint, in each process (`python -m tests.bench growth`)
ENDPOINT_BYTES = 1_200
#: MiB of a process, by role; its stores and buffers have limits
BASE_MIB = {"fanout": 512, "dispatch": 512, "projection": 512, "api": 512}
OTHERS_MIB = 256
#: requests in flight of one dispatch process (HOOKSTREAM_MAX_IN_FLIGHT)
MOST_IN_FLIGHT = 1_024
_OTHERS = ("api", "sequencer", "delay", "health", "registry", "notifier", "replay")
_FREE = 0.5
_DAY_S = 86_400
#: days of retention, and bytes beside the payload
_EVENT_DAYS, _ATTEMPT_DAYS = 7, 30
_DELIVERY_BYTES, _ATTEMPT_BYTES, _ROW_BYTES = 500, 1_000, 1_200
#: partition counts that are offered. Up to `_MANY` each serves so many deliveries per second; beyond, they suffice for
#: two of each process of a role
_PARTITIONS, _PER_PARTITION, _MANY = (12, 24, 48, 96, 192, 384, 768, 1_536), 170, 96


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What happens in the peak hour, and on an average day."""

    #: in the peak hour
    events_per_second: float
    #: registered in all
    endpoints: int = 100
    #: that get an event, on average
    matches: float = 1.0
    payload_bytes: int = 2_000
    #: seconds that a receiver takes to answer
    answer_s: float = 0.5
    #: share of attempts that are repeated
    retries: float = 0.05
    #: average of a day by the peak hour
    average: float = 0.3

    @property
    def attempts_per_second(self) -> float:
        """In the peak hour, retries included."""
        return self.events_per_second * self.matches * (1 + self.retries)


class Workload(msgspec.Struct, frozen=True):
    """The processes of one role; `memory_mib`: of each."""

    role: str
    processes: int
    memory_mib: int
    #: cores that all of them are busy with in the peak hour
    busy_cores: float


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """What a load needs."""

    workloads: list[Workload]
    #: HOOKSTREAM_PARTITIONS
    partitions: int
    #: in the peak hour
    requests_in_flight: int
    #: on the brokers, before compression and copies
    kafka_gb: float
    #: of the read model in PostgreSQL, for 30 days
    database_gb: float


def size(load: Load) -> Size:
    """The size for a load."""
    attempts, in_flight = load.attempts_per_second, ceil(load.attempts_per_second * load.answer_s)
    events_a_day = load.events_per_second * load.average * _DAY_S
    deliveries_a_day, attempts_a_day = events_a_day * load.matches, attempts * load.average * _DAY_S
    stored = events_a_day * load.payload_bytes * _EVENT_DAYS
    stored += deliveries_a_day * (load.payload_bytes + _DELIVERY_BYTES) * _EVENT_DAYS
    stored += attempts_a_day * _ATTEMPT_BYTES * _ATTEMPT_DAYS
    workloads = [
        _workload("fanout", load, load.events_per_second * load.matches * FANOUT_US, arrivals=load.events_per_second),
        _workload("dispatch", load, attempts * DISPATCH_US, arrivals=attempts, least=ceil(in_flight / MOST_IN_FLIGHT)),
        _workload("projection", load, attempts * PROJECTION_US),
        *(_workload(role, load, 0.0) for role in _OTHERS),
    ]
    return Size(
        workloads=workloads,
        partitions=_partitions(attempts, max(each.processes for each in workloads)),
        requests_in_flight=in_flight,
        kafka_gb=round(stored / 1e9, 1),
        database_gb=round(attempts_a_day * _ATTEMPT_DAYS * _ROW_BYTES / 1e9, 1),
    )


def _partitions(attempts: float, processes: int) -> int:
    """How many partitions so many deliveries per second and processes of a role need."""
    return next(
        (
            each
            for each in _PARTITIONS
            if each >= 2 * processes and (each >= _MANY or each * _PER_PARTITION >= attempts)
        ),
        _PARTITIONS[-1],
    )


def _workload(role: str, load: Load, microseconds: float, *, arrivals: float = 0.0, least: int = 2) -> Workload:
    """`microseconds`: of CPU for each second of the peak hour in bulk; `arrivals`: records per second that are read."""
    bulk = microseconds / 1e6
    processes = max(2, least, ceil(bulk / _FREE))
    alone_ms, most = ALONE.get(role, (0.0, 0.0))
    cores = max(bulk, processes * min(arrivals / processes * alone_ms / 1e3, most))
    memory = BASE_MIB.get(role, OTHERS_MIB) + ceil(load.endpoints * ENDPOINT_BYTES / 2**20)
    return Workload(role, processes, memory, round(cores, 2))
