"""The demo: the demo receiver with one endpoint for each product, and every example event of the catalogue."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping

import msgspec

from app.adapters.clock import SystemClock
from app.adapters.kafka.clients import KafkaClients
from app.adapters.kafka.command_client import CommandClient
from app.adapters.kafka.directory_feed import KafkaDirectoryFeed
from app.adapters.kafka.producer import KafkaProducer
from app.adapters.secrets.keyring import AesKeyRing
from app.adapters.secrets.tokens import new_signing_secret
from app.core.directory import Directory
from app.core.model.endpoint import Endpoint
from app.core.records.command import CreateEndpoint, UpdateEndpoint
from app.core.topics.declarations import Topics
from app.core.topics.names import TopicName
from app.data import EVENT_TYPES
from app.embedded.receiver.receiver import DemoReceiver, Received
from app.profiles.catalog import PROFILES, load_catalogue

#: Bota's device events reach only those who ask for them by name
_OPTED_IN = {"bota": ("*", "device.*")}


class Demo:
    """Receiver, endpoints and events of one demonstration."""

    def __init__(
        self,
        clients: KafkaClients,
        topics: Topics,
        ring: AesKeyRing,
        *,
        port: int,
        on_request: Callable[[Received], None],
    ) -> None:
        self._clients = clients
        self._topics = topics
        self._ring = ring
        self._clock = SystemClock()
        self._on_request = on_request
        self._expected: dict[str, tuple[str, str]] = {}
        self._verified: set[str] = set()
        self._complete = asyncio.Event()
        self.receiver = DemoReceiver(clock=self._clock, port=port, on_request=self._arrived)

    async def start(self) -> str:
        """Start the receiver and create its endpoints. Returns the receiver's base URL."""
        base = await self.receiver.start()
        directory = Directory()
        feed = KafkaDirectoryFeed(
            self._clients, self._topics.name(TopicName.REGISTRY), client_id="hookstream-demo", directory=directory
        )
        client = CommandClient(
            self._clients,
            commands=self._topics.name(TopicName.REGISTRY_COMMANDS),
            replies=self._topics.name(TopicName.REGISTRY_REPLIES),
            client_id="hookstream-demo",
            clock=self._clock,
        )
        try:
            await feed.start()
            await client.start()
            for profile in PROFILES:
                await self._endpoint(profile, f"{base}/{profile}", directory, client)
        finally:
            await client.stop()
            await feed.stop()
        return base

    async def stop(self) -> None:
        """Close the receiver."""
        await self.receiver.stop()

    async def send(self) -> Mapping[str, tuple[str, str]]:
        """Append every example event with a fresh id; returns id → (profile, type)."""
        run = secrets.token_hex(4)
        raw = self._topics.name(TopicName.EVENTS_RAW)
        log = KafkaProducer(self._clients, client_id="hookstream-demo")
        await log.start([raw])
        try:
            acks = []
            for profile, entries in load_catalogue(EVENT_TYPES).items():
                for entry in entries.values():
                    for example in entry.examples:
                        event_id = f"evt_demo_{run}_{len(self._expected) + 1}"
                        self._expected[event_id] = (profile, entry.type)
                        event = {"type": entry.type, "id": event_id, "tenant": _tenant(profile)}
                        body = msgspec.json.encode(event | {"data": msgspec.Raw(example)})
                        acks.append(await log.append(raw, key=_tenant(profile).encode(), value=body))
            await asyncio.gather(*acks)
        finally:
            await log.close()
        return self._expected

    async def all_arrived(self, timeout_s: float) -> set[str]:
        """Wait until each event has arrived with a valid signature; returns the ids of those that have not."""
        try:
            await asyncio.wait_for(self._complete.wait(), timeout_s)
        except TimeoutError:
            pass
        return set(self._expected) - self._verified

    def _arrived(self, received: Received) -> None:
        if received.verified and received.event_id:
            self._verified.add(received.event_id)
            if self._expected and self._verified >= set(self._expected):
                self._complete.set()
        self._on_request(received)

    async def _endpoint(self, profile: str, url: str, directory: Directory, client: CommandClient) -> None:
        """Create the profile's demo endpoint, or update the URL of the one from an earlier start."""
        tenant = _tenant(profile)
        for endpoint in directory.endpoints(tenant, "live"):
            if endpoint.description == _DESCRIPTION and endpoint.secrets:
                secret = self._ring.open(endpoint.secrets[0], f"{tenant}/{endpoint.id}")
                if endpoint.url != url:
                    await client.call(UpdateEndpoint(endpoint.id, {"url": url}), entity=endpoint.id)
                self.receiver.register(profile, profile, secret)
                return
        endpoint_id, secret = "ep_" + secrets.token_hex(12), new_signing_secret()
        endpoint = Endpoint(
            id=endpoint_id,
            tenant=tenant,
            mode="live",
            url=url,
            events=_OPTED_IN.get(profile, ("*",)),
            profile=profile,
            description=_DESCRIPTION,
            secrets=(self._ring.seal(secret, f"{tenant}/{endpoint_id}", self._clock.now_ms()),),
        )
        await client.call(CreateEndpoint(endpoint), entity=endpoint_id)
        self.receiver.register(profile, profile, secret)


_DESCRIPTION = "demo receiver"


def _tenant(profile: str) -> str:
    return f"demo-{profile}"
