"""The health role: signals of endpoints in, commands to the registry and notices out.

This is the shell: roles/health/transitions.py decides. For each batch of endpoints.signals it reads the states of the
endpoints concerned, appends the actions and stores the new states. The command to disable an endpoint names the offsets
from which a recovery would read. They are queried then, over a connection of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, assert_never

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

logger = structlog.get_logger(__name__)

TABLE = "state"
_NO_RULE = DisableRule()
_encoder = msgspec.msgpack.Encoder()
_state = msgspec.msgpack.Decoder(HealthState)
_json = msgspec.json.Encoder()
#: log lines about endpoints that begin to fail or recover, in this many seconds
_MAX_LINES, _LINES_S = 50, 10.0


class _RecoveryOffsets(NamedTuple):
    """The offsets from which a recovery would read."""

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
        self._lines = Sampled(most=_MAX_LINES, every_s=_LINES_S)

    async def _handle(self, batch: StreamBatch) -> None:
        await self._feed.catch_up(
            batch.polled_at
        )  # the directory must have each endpoint that dispatch sent to, in its epoch
        async with self._pipeline.next_part():
            await self._work(batch)

    async def _work(self, batch: StreamBatch) -> None:
        states: dict[bytes, HealthState | None] = {}
        emitted: list[tuple[Record, EmittedActions]] = []
        for record in batch.records:
            actions = self._observe(batch.partition, states, record)
            if actions is not None:
                emitted.append((record, actions))
        disables = any(isinstance(action, DisableEndpoint) for _, each in emitted for action in each.actions)
        offsets = await self._recovery_offsets(batch.partition) if disables else None
        if not batch.partition.current:
            return  # it moved during the await: the partition's next owner reads the batch
        with self._pipeline.outputs(batch) as group:
            for record, each in emitted:
                self._execute(group, record, each, offsets)
            encoded = {key: _encoder.encode(state) if state else None for key, state in states.items()}
            write_table(batch.partition, TABLE, encoded, group)

    def _observe(
        self, partition: StreamPartition, states: dict[bytes, HealthState | None], record: Record
    ) -> EmittedActions | None:
        key = record.key or b""
        try:
            signal: HealthSignal = read(record.value)
            endpoint = self._feed.directory.endpoint(key.decode())
        except (Defect, UnicodeDecodeError) as error:
            logger.error("health.unreadable", partition=partition.number, offset=record.offset, error=str(error))
            self._meter.count("records_unreadable_total", topic=TopicName.ENDPOINTS_SIGNALS)
            return None
        before = states[key] if key in states else _read_state(partition.read(TABLE, key))
        profile = PROFILES.get(endpoint.profile) if endpoint else None
        rule = profile.disable if profile else _NO_RULE
        after, emitted = observe(before, endpoint, rule, signal, record.offset, record.timestamp)
        if after is not before:
            states[key] = after
        return emitted

    async def _recovery_offsets(self, partition: StreamPartition) -> _RecoveryOffsets:
        async with self._ends() as ends:
            begin = await ends.fanned_out()
            return _RecoveryOffsets(begin, (await ends.ends(self._dead)).get(partition.number, 0))

    def _execute(
        self, group: AckGroup, record: Record, emitted: EmittedActions, offsets: _RecoveryOffsets | None
    ) -> None:
        key = record.key or b""
        for index, action in enumerate(emitted.actions):
            if isinstance(action, AppendNotice):
                self._meter.count("notices_total", kind=action.notice.kind)
                value = _json.encode(action.notice)
                group.append(self._notices, key=action.notice.tenant.encode(), value=value)
            else:
                if not isinstance(action, DisableEndpoint):  # which has a log line of its own
                    self._note(action, key.decode(), record.timestamp / 1000)
                body = self._command(key.decode(), emitted.epoch, action, offsets)
                name = ids.health_command_id(body.id, emitted.epoch, emitted.offset, index)
                actor = (
                    "" if isinstance(action, ShowCircuit) else "health"
                )  # circuits change by themselves and are not audited
                command = Command(id=name, issued_at_ms=record.timestamp, action=body, actor=actor)
                group.append(self._commands, key=key, value=encode(command))

    def _command(
        self,
        endpoint_id: str,
        epoch: int,
        action: ShowFailing | DisableEndpoint | ShowCircuit,
        offsets: _RecoveryOffsets | None,
    ) -> MarkFailing | SuspendEndpoint | MarkCircuit:
        if isinstance(action, ShowCircuit):
            return MarkCircuit(endpoint_id, epoch, action.circuit)
        if isinstance(action, ShowFailing):
            change = "cleared" if action.failing_since_ms is None else "failing"
            self._meter.count("endpoint_health_changes_total", change=change)
            return MarkFailing(endpoint_id, epoch, action.failing_since_ms, action.disable_at_ms)
        if not isinstance(action, DisableEndpoint):
            assert_never(action)
        if offsets is None:
            raise Defect("an endpoint is to be disabled, and the offsets for its recovery were not queried")
        self._meter.count("endpoint_health_changes_total", change="disabled")
        logger.warning("health.disables", endpoint=endpoint_id, reason=action.reason)
        return SuspendEndpoint(
            endpoint_id,
            "disabled",
            begin=dict(offsets.begin),
            dead_begin=offsets.dead_begin,
            reason=action.reason,
            epoch=epoch,
        )

    def _note(self, action: ShowFailing | ShowCircuit, endpoint_id: str, now_s: float) -> None:
        """Write a log line, unless there were too many; thousands of endpoints may fail at once."""
        if isinstance(action, ShowFailing):
            event = "endpoint.recovered" if action.failing_since_ms is None else "endpoint.failing"
        else:
            event = "endpoint.circuit_closed" if action.circuit is None else "endpoint.circuit_open"
        omitted = self._lines.take(now_s)
        if omitted is not None:
            logger.info(event, endpoint=endpoint_id, **({"lines_left_out": omitted} if omitted else {}))


def _read_state(stored: bytes | None) -> HealthState | None:
    """Decode a table value; None for an absent one, and for one that health cannot have written."""
    try:
        return _state.decode(stored) if stored is not None else None
    except (ValueError, RecursionError):
        logger.exception("health.table_unreadable")
        return None
