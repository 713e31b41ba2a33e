"""The health role: signals of endpoints in, commands to the registry and notices out.

The decisions are in roles/health/transitions.py. Here: for each batch of endpoints.signals, load the states
of the endpoints that it
speaks of, decide, append what was ordered, and remember the rest. To disable an endpoint is to name the places in the
log from which a recovery would read: they are asked for then, over a connection that is made for the question.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple

import msgspec
import structlog

from app.core.errors import Defect
from app.core.model import ids
from app.core.records.command import Command, MarkCircuit, MarkFailing, SuspendEndpoint
from app.core.records.registry import encode
from app.core.records.signal import HealthSignal, read
from app.core.sampling import Sampled
from app.core.topics.declarations import Topics
from app.core.topics.names import TopicName
from app.ports.consumer import Record
from app.ports.history import OffsetQueries
from app.ports.metrics import Meter
from app.ports.producer import AckGroup, GroupingProducer
from app.ports.registry import DirectoryFeed
from app.ports.stream import StreamApp, StreamBatch, StreamPartition
from app.profiles.catalog import PROFILES
from app.profiles.policy import DisableRule
from app.roles.ack_pipeline import StreamRole, write_table
from app.roles.health.transitions import (
    AppendNotice,
    DisableEndpoint,
    EmittedActions,
    HealthState,
    ShowCircuit,
    ShowFailing,
    observe,
)

log = structlog.get_logger(__name__)

TABLE = "state"
_NO_RULE = DisableRule()
_encoder = msgspec.msgpack.Encoder()
_state = msgspec.msgpack.Decoder(HealthState)
_json = msgspec.json.Encoder()
#: lines about endpoints that begin to fail or recover, in that many seconds
_LINES, _LINES_S = 50, 10.0


class _Places(NamedTuple):
    """Where the logs are that a recovery would read."""

    begin: Mapping[int, int]
    dead_begin: int


class HealthRole(StreamRole):
    """One health worker."""

    def __init__(
        self,
        *,
        app: Callable[[], StreamApp],
        producer: GroupingProducer,
        feed: DirectoryFeed,
        ends: Callable[[], AbstractAsyncContextManager[OffsetQueries]],
        meter: Meter,
        topics: Topics,
    ) -> None:
        super().__init__(app, producer)
        self._feed = feed
        self._ends = ends
        self._meter = meter
        self._commands = topics.name(TopicName.REGISTRY_COMMANDS)
        self._notices = topics.name(TopicName.NOTICES)
        self._dead = topics.name(TopicName.DELIVERIES_DEAD)
        self._lines = Sampled(most=_LINES, every_s=_LINES_S)

    async def _handle(self, batch: StreamBatch) -> None:
        await self._feed.catch_up(batch.polled_at)  # an endpoint that dispatch knows must be known here, in its epoch
        async with self._pipeline.next_part():
            await self._work(batch)

    async def _work(self, batch: StreamBatch) -> None:
        states: dict[bytes, HealthState | None] = {}
        said: list[tuple[Record, EmittedActions]] = []
        for record in batch.records:
            orders = self._observe(batch.partition, states, record)
            if orders is not None:
                said.append((record, orders))
        disables = any(isinstance(order, DisableEndpoint) for _, each in said for order in each.orders)
        places = await self._places(batch.partition) if disables else None
        if not batch.partition.current:
            return  # while that was awaited: whoever has the partition now reads it
        with self._pipeline.outputs(batch) as bundle:
            for record, each in said:
                self._obey(bundle, record, each, places)
            encoded = {key: _encoder.encode(state) if state else None for key, state in states.items()}
            write_table(batch.partition, TABLE, encoded, bundle)

    def _observe(
        self, partition: StreamPartition, states: dict[bytes, HealthState | None], record: Record
    ) -> EmittedActions | None:
        key = record.key or b""
        try:
            signal: HealthSignal = read(record.value)
            endpoint = self._feed.directory.endpoint(key.decode())
        except (Defect, UnicodeDecodeError) as error:
            log.error("health.unreadable", partition=partition.number, offset=record.offset, error=str(error))
            self._meter.count("records_unreadable_total", topic=TopicName.ENDPOINTS_SIGNALS)
            return None
        before = states[key] if key in states else _known(partition.read(TABLE, key))
        profile = PROFILES.get(endpoint.profile) if endpoint else None
        rule = profile.disable if profile else _NO_RULE
        after, said = observe(before, endpoint, rule, signal, record.offset, record.timestamp)
        if after is not before:
            states[key] = after
        return said

    async def _places(self, partition: StreamPartition) -> _Places:
        async with self._ends() as ends:
            begin = await ends.fanned_out()
            return _Places(begin, (await ends.ends(self._dead)).get(partition.number, 0))

    def _obey(self, bundle: AckGroup, record: Record, said: EmittedActions, places: _Places | None) -> None:
        key = record.key or b""
        for index, order in enumerate(said.orders):
            if isinstance(order, AppendNotice):
                self._meter.count("notices_total", kind=order.notice.kind)
                value = _json.encode(order.notice)
                bundle.append(self._notices, key=order.notice.tenant.encode(), value=value)
            else:
                if not isinstance(order, DisableEndpoint):  # that one has a line of its own
                    self._note(order, key.decode(), record.timestamp / 1000)
                action = self._action(key.decode(), said.epoch, order, places)
                name = ids.health_command_id(action.id, said.epoch, said.offset, index)
                actor = "" if isinstance(order, ShowCircuit) else "health"  # nobody audits what passes by itself
                command = Command(id=name, issued_at_ms=record.timestamp, action=action, actor=actor)
                bundle.append(self._commands, key=key, value=encode(command))

    def _action(
        self, endpoint_id: str, epoch: int, order: ShowFailing | DisableEndpoint | ShowCircuit, places: _Places | None
    ) -> MarkFailing | SuspendEndpoint | MarkCircuit:
        if isinstance(order, ShowCircuit):
            return MarkCircuit(endpoint_id, epoch, order.circuit)
        if isinstance(order, ShowFailing):
            change = "cleared" if order.failing_since_ms is None else "failing"
            self._meter.count("endpoint_health_changes_total", change=change)
            return MarkFailing(endpoint_id, epoch, order.failing_since_ms, order.disable_at_ms)
        if places is None:
            raise Defect("an endpoint is to be disabled at places that were not asked for")
        self._meter.count("endpoint_health_changes_total", change="disabled")
        log.warning("health.disables", endpoint=endpoint_id, reason=order.reason)
        return SuspendEndpoint(
            endpoint_id,
            "disabled",
            begin=dict(places.begin),
            dead_begin=places.dead_begin,
            reason=order.reason,
            epoch=epoch,
        )

    def _note(self, order: ShowFailing | ShowCircuit, endpoint_id: str, now_s: float) -> None:
        """A line of the log; thousands of endpoints may fail at once."""
        if isinstance(order, ShowFailing):
            event = "endpoint.recovered" if order.failing_since_ms is None else "endpoint.failing"
        else:
            event = "endpoint.circuit_closed" if order.circuit is None else "endpoint.circuit_open"
        omitted = self._lines.take(now_s)
        if omitted is not None:
            log.info(event, endpoint=endpoint_id, **({"lines_left_out": omitted} if omitted else {}))


def _known(stored: bytes | None) -> HealthState | None:
    """A table's value; what we cannot have written counts as nothing."""
    try:
        return _state.decode(stored) if stored is not None else None
    except (ValueError, RecursionError):
        log.exception("health.table_unreadable")
        return None
