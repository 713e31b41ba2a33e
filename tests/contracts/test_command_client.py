"""The client of the registry, without one."""

from __future__ import annotations

import asyncio
import json

import pytest

from app.adapters.kafka.command_client import CommandClient
from app.core.records.command import CommandReply, PauseReplay
from app.core.records.registry import encode
from tests.fakes.clock import FakeClock, settle
from tests.fakes.log import MemoryLog, MemoryRecord
from tests.kafka import clients_at


async def test_a_cancellation_that_coincides_with_the_answer_is_not_lost() -> None:
    clock = FakeClock()
    log = MemoryLog(clock)
    client = CommandClient(
        clients_at("nobody:1"), commands="commands", replies="replies", client_id="test", clock=clock
    )
    client._log = log  # type: ignore[assignment]
    call = asyncio.create_task(client.call(PauseReplay("rpl"), entity="replay/rpl"))
    (record,) = await log.seen("commands", 1)
    await settle()
    command_id = json.loads(record.value or b"")["id"]
    reply = encode(CommandReply(command_id=command_id, ok=True))
    client._take(MemoryRecord("replies", 0, 0, 0, command_id.encode(), reply, []))
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await client._consumer.stop()
