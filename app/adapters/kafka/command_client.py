"""Send a command to the registry and wait for its reply; used by the CLI, the API and the replay role."""

from __future__ import annotations

import asyncio
import uuid

import msgspec
import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from app.adapters.kafka.clients import KafkaClients
from app.adapters.kafka.producer import KafkaProducer
from app.core.errors import CommandRefused, RecordTooLarge, Unavailable
from app.core.records.command import Command, CommandAction, CommandReply
from app.core.records.registry import encode
from app.ports.clock import Clock
from app.ports.consumer import Record

logger = structlog.get_logger(__name__)

_reply = msgspec.json.Decoder(CommandReply)


class CommandClient:
    """One connection, which many commands may share at the same time."""

    def __init__(self, clients: KafkaClients, *, commands: str, replies: str, client_id: str, clock: Clock) -> None:
        self._clients = clients
        self._commands = commands
        self._place = TopicPartition(replies, 0)
        self._clock = clock
        self._log = KafkaProducer(clients, client_id=client_id)
        self._consumer = clients.consumer(client_id, auto_offset_reset="latest")
        self._waiting: dict[str, asyncio.Future[CommandReply]] = {}
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect. Replies to commands that are sent after the return are received."""
        await self._log.start([self._commands, self._place.topic])
        async with self._clients.connecting():
            await self._consumer.start()
            self._consumer.assign([self._place])
            await self._consumer.seek_to_end(self._place)
            await self._consumer.position(self._place)
        self._task = asyncio.create_task(self._listen())

    async def stop(self) -> None:
        """Disconnect."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._consumer.stop()
        await self._log.close()

    async def call(
        self, action: CommandAction, *, entity: str, actor: str = "", timeout_s: float = 15.0
    ) -> CommandReply:
        """Send a command and wait for the reply. `actor` names the user in the audit log.

        Raises `CommandRefused`, or `Unavailable` when no writer answers in time.
        """
        command = Command(id=uuid.uuid4().hex, issued_at_ms=self._clock.now_ms(), action=action, actor=actor)
        future: asyncio.Future[CommandReply] = asyncio.get_running_loop().create_future()
        self._waiting[command.id] = future
        try:
            await (await self._log.append(self._commands, key=entity.encode(), value=encode(command)))
            async with asyncio.timeout(timeout_s):  # wait_for loses a cancellation that coincides with the answer
                reply = await future
        except RecordTooLarge as error:
            raise CommandRefused("invalid", f"the command is larger than Kafka takes: {error}") from error
        except TimeoutError as error:
            raise Unavailable(
                f"no registry answered within {timeout_s:.0f} s: is a `hookstream up` or `hookstream run registry` "
                "running on this Kafka? The command is in the log and will be applied when one starts."
            ) from error
        finally:
            self._waiting.pop(command.id, None)
        if not reply.ok:
            raise CommandRefused(reply.code or "refused", reply.detail or "the registry gave no reason")
        return reply

    async def _listen(self) -> None:
        while True:
            try:
                batches = await self._consumer.getmany(timeout_ms=1000)
            except KafkaError:
                await asyncio.sleep(0.2)
                continue
            for record in batches.get(self._place, []):
                self._take(record)

    def _take(self, record: Record) -> None:
        future = self._waiting.get((record.key or b"").decode("utf-8", "replace"))
        if future is None or future.done():
            return
        try:
            future.set_result(_reply.decode(record.value or b""))
        except (ValueError, RecursionError) as error:
            logger.error("replies.unreadable", topic=self._place.topic, offset=record.offset, error=str(error))
