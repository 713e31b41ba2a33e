"""The whole service on one machine, as `up` runs it: broker (unless another Kafka is set), topics, roles, probes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import structlog

from app.adapters.kafka.admin import KafkaAdmin
from app.adapters.kafka.clients import KafkaClients
from app.adapters.secrets.keyring import AesKeyRing
from app.core.errors import Defect, HookstreamError
from app.core.topics.declarations import Topics
from app.core.topics.drift import plan
from app.embedded.broker.broker import EmbeddedBroker
from app.runtime.build.shared import ListenAddress
from app.runtime.open_parts import Parts, Tasks
from app.runtime.process import Process
from app.runtime.roles import present_roles
from app.runtime.topics import topics_of
from app.settings import Settings, kafka_connection

logger = structlog.get_logger(__name__)
#: here everything is in one process: only the stuck role is restarted, up to this often before the process ends
STUCK_RESTARTS = 3


class Service:
    """A part of a service with a start and a stop."""

    def __init__(
        self,
        settings: Settings,
        ring: AesKeyRing,
        *,
        say: Callable[[str], None],
        explicit_replication: bool,
        elsewhere: bool,
    ) -> None:
        """`elsewhere`: the API's port is a default, so use any free port if it is in use."""
        self._settings = settings
        self._ring = ring
        self._say = say
        self._explicit_replication = explicit_replication
        self._elsewhere = elsewhere
        self._parts = Parts()
        self._process: Process | None = None
        #: of the embedded broker's controller: the process forbids them to endpoints
        self._own_ports: set[int] = set()
        self._started = asyncio.Event()
        self.bootstrap = settings.bootstrap_servers or ""
        self.clients: KafkaClients
        self.topics: Topics
        self.api_url = ""

    async def start(self) -> None:
        """Start everything; returns when new events would be delivered. Always call `stop` afterwards."""
        address = ListenAddress(self._settings.api_host, self._settings.api_port, elsewhere=self._elsewhere)
        await address.require_free()
        if not self.bootstrap:
            await self._start_broker()
        self.clients = KafkaClients(kafka_connection(self._settings, self.bootstrap))
        await self._apply_topics()
        roles = present_roles(self._settings)
        self._say("starting the roles: " + ", ".join(roles))
        self._process = Process(
            self._settings, self.clients, self.topics, self._ring, roles, address, stuck_restarts=STUCK_RESTARTS
        )
        self._process.own_ports |= self._own_ports
        self._own_ports = self._process.own_ports
        await self._parts.open("roles", self._process.start, self._process.stop)
        self._started.set()
        await self._process.until_ready()
        self.api_url = f"http://{address.host}:{address.port}"

    async def given_up(self) -> str:
        """Wait until the process should end because a role cannot be restarted. Returns the reason."""
        await self._started.wait()
        if self._process is None:
            raise Defect("the service was not started")
        return await self._process.given_up()

    async def _start_broker(self) -> None:
        settings = self._settings
        broker = EmbeddedBroker(
            data_dir=settings.data_dir, port=settings.kafka_port, cache_dir=settings.cache_dir, say=self._say
        )

        async def start() -> None:
            self.bootstrap = await broker.start()
            self._own_ports.add(broker.controller_port)

        self._say("starting Kafka")
        await self._parts.open("Kafka", start, broker.stop)
        guard = Tasks(lambda: [self._guard_broker(broker)])
        await self._parts.open("Kafka's guard", guard.start, guard.stop)

    async def _apply_topics(self) -> None:
        async with KafkaAdmin(self.clients) as admin:
            brokers = await admin.brokers()
            if brokers < self._settings.replication_factor and not self._explicit_replication:
                self._say(f"this Kafka has {brokers} broker(s): topics get {brokers} instead of 3 replicas")
                self._settings = msgspec.structs.replace(self._settings, replication_factor=brokers)
            self.topics = topics_of(self._settings)
            steps = plan(self.topics, await admin.actual(self.topics))
            await admin.apply(steps)  # what this cannot mend, the process judges at its start

    async def _guard_broker(self, broker: EmbeddedBroker) -> None:
        """Restart the embedded broker on the same port, whatever ended it."""
        while True:
            code = await broker.wait_exited()
            logger.warning("broker.ended", exit_code=code, action="starting it again")
            while True:
                try:
                    await broker.start()
                    self._own_ports.add(broker.controller_port)
                    logger.warning("broker.restarted")
                    break
                except HookstreamError as error:
                    logger.error("broker.not_started", error=str(error))
                    await asyncio.sleep(2.0)

    async def stop(self) -> bool:
        """Stop everything that was started, the broker last; False if a part did not stop in time."""
        return await self._parts.close()
