"""A command's connection to the registry: read it completely, send commands, and wait for their effect."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.adapters.clock import SystemClock
from app.adapters.kafka.command_client import CommandClient
from app.adapters.kafka.directory_feed import KafkaDirectoryFeed
from app.cli.connect import process_context
from app.cli.connect.kafka_rights import require
from app.core.directory import Directory
from app.core.errors import CommandRefused
from app.core.model.endpoint import Endpoint
from app.core.records.command import CommandAction, CommandReply
from app.core.topics.names import TopicName
from app.runtime.topics import topics_of
from app.settings import Settings


class RegistrySession:
    """The registry's current state, and commands to change it."""

    def __init__(
        self, settings: Settings, feed: KafkaDirectoryFeed, client: CommandClient, directory: Directory
    ) -> None:
        self.settings = settings
        self.directory = directory
        self.clock = SystemClock()
        self._feed = feed
        self._client = client

    async def call(self, action: CommandAction, entity: str) -> CommandReply:
        """Send a command; returns when its effect is in `directory`."""
        reply = await self._client.call(action, entity=entity, actor="cli")
        await self._feed.catch_up_after_reply()
        return reply

    def endpoint(self, name: str) -> Endpoint:
        """The endpoint with that id or uid. Raises `CommandRefused`, also if several tenants or modes have that uid."""
        one = self.directory.endpoint(name)
        if one is not None:
            return one
        with_uid = [each for each in self.directory.endpoints() if each.uid == name]
        if len(with_uid) == 1:
            return with_uid[0]
        if with_uid:
            some = ", ".join(f"{each.id} ({each.tenant}, {each.mode})" for each in with_uid[:10])
            raise CommandRefused("conflict", f"{len(with_uid)} endpoints have the uid {name}: name one by id: {some}")
        raise CommandRefused("not_found", f"there is no endpoint {name}")

    async def catch_up(self) -> None:
        """Return when `directory` has everything that the registry holds now."""
        await self._feed.catch_up()


@asynccontextmanager
async def session() -> AsyncIterator[RegistrySession]:
    """Connect to the registry of the running service."""
    settings = process_context.settings()
    clients = process_context.clients()
    topics = topics_of(settings)
    registry, commands, replies = map(
        topics.name, (TopicName.REGISTRY, TopicName.REGISTRY_COMMANDS, TopicName.REGISTRY_REPLIES)
    )
    await require(clients, reads=[registry, replies], writes=[commands])
    directory = Directory()
    feed = KafkaDirectoryFeed(clients, registry, client_id="hookstream-cli", directory=directory)
    client = CommandClient(clients, commands=commands, replies=replies, client_id="hookstream-cli", clock=SystemClock())
    try:
        await client.start()
        await feed.start()
        yield RegistrySession(settings, feed, client, directory)
    finally:
        await feed.stop()
        await client.stop()
