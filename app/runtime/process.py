"""One process: its shared connections, its roles under a supervisor, its probes."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Any

import structlog
from aiohttp import web

from app.adapters.clock import SystemClock, SystemDice
from app.adapters.dependencies import Dependencies
from app.adapters.http.dns import NameResolver
from app.adapters.http.sender import HttpSender
from app.adapters.http.web_server import add_probes
from app.adapters.kafka.clients import KafkaClients
from app.adapters.kafka.cluster import KafkaClusterInspector
from app.adapters.kafka.cluster_watch import ClusterWatch
from app.adapters.kafka.input_topics import InputTopicWatch
from app.adapters.kafka.internals import accept_undecodable_header_names
from app.adapters.kafka.lag_sampler import LagSampler
from app.adapters.kafka.rights_watch import RightsWatch
from app.adapters.secrets.keyring import AesKeyRing
from app.adapters.telemetry.metrics import PrometheusMeter
from app.adapters.telemetry.top_endpoints import TopEndpoints
from app.core.errors import RightMissing, Unavailable
from app.core.exit_codes import ExitCode
from app.core.topics.declarations import Topics
from app.runtime.build.shared import (
    ListenAddress,
    Shared,
    directory_feed,
    egress_policy,
    egress_proxy,
    ports_of,
    producer_of,
)
from app.runtime.build.tracing import tracer_of
from app.runtime.event_loop_watchdog import EventLoopWatchdog
from app.runtime.group_names import group_of
from app.runtime.inputs import inputs_of
from app.runtime.open_parts import Parts, Tasks
from app.runtime.rights import common_rights, rights_of
from app.runtime.roles import GROUPS, ROLES, require_roles
from app.runtime.state_gauges import StateGauges
from app.runtime.state_log import KeyRingLog, ReadinessLog
from app.runtime.supervisor import Supervisor
from app.runtime.topics import check
from app.runtime.watchdog_loop import WatchdogLoop, every_s, limits_of
from app.settings import Settings

logger = structlog.get_logger(__name__)


#: the role that reads the topics of inputs
_INTAKE = "intake"
#: time to stop the roles, in addition to requests in flight
_STOP_S = 30.0


class Process:
    """Roles of one process and what they share."""

    def __init__(
        self,
        settings: Settings,
        clients: KafkaClients,
        topics: Topics,
        keyring: AesKeyRing,
        roles: Sequence[str],
        address: ListenAddress,
        *,
        stuck_restarts: int = 0,
    ) -> None:
        """`address` is where the role `api` listens; `stuck_restarts`: how often a stuck role is restarted."""
        require_roles(roles, settings)
        self._settings = settings
        self._clients = clients
        self._topics = topics
        self._keyring = keyring
        self._roles = tuple(roles)
        self.address = address
        self._parts = Parts()
        self._clock = SystemClock()
        self._top_endpoints = _top_endpoints(settings, self._clock)
        self.meter = PrometheusMeter(self._top_endpoints)
        self.dependencies = Dependencies(self._clock, self.meter)
        self._cluster: ClusterWatch | None = None
        inputs = inputs_of(settings, topics) if _INTAKE in roles else None
        #: the topics that the inputs read; None: this process has no role that reads inputs
        self._input_topics = None if inputs is None else InputTopicWatch(clients, inputs, self._clock)
        self._needed = {
            name: each.single_rights() for name, each in rights_of(topics, settings.topic_prefix, inputs).items()
        }
        self._rights = RightsWatch(clients, {name: self._needed[name] for name in self._roles}, self._renew_reader)
        self._log = producer_of(clients, topics, self.meter)
        self._policy = egress_policy(settings)
        #: where this process, its Kafka and its database listen: no endpoint may be there
        self.own_ports = ports_of(settings, clients)
        self._sender = HttpSender(
            self._policy,
            ca_file=settings.ca_file,
            own_ports=lambda: self.own_ports | {self.address.port},
            proxy=egress_proxy(settings, self.dependencies.of("egress_proxy")),
            resolver=NameResolver(settings.dns_servers, self.meter, self.dependencies.of("dns")),
        )
        self._feed = directory_feed(clients, topics, self.meter)
        self._tracer = tracer_of(settings)
        self._shared = self._share(keyring)
        self._limits = limits_of(settings)
        self._supervisor = self._supervise(stuck_restarts)
        self._ring_watch = KeyRingLog(lambda: self._feed.directory.sealed.problem(self._keyring.open))
        self._life = ReadinessLog(self._clock, self.readiness)
        self._check_topics = partial(check, clients, topics)
        self._loop_watch = EventLoopWatchdog(settings.watchdog_loop_seconds, ExitCode.STUCK)

    def _share(self, keyring: AesKeyRing) -> Shared:
        return Shared(
            settings=self._settings,
            topics=self._topics,
            clients=self._clients,
            producer=self._log,
            feed=self._feed,
            sender=self._sender,
            keyring=keyring,
            egress=self._policy,
            clock=self._clock,
            randomness=SystemDice(),
            meter=self.meter,
            endpoint_meter=self._top_endpoints,
            tracer=self._tracer,
            dependencies=self.dependencies,
            address=self.address,
            inspector=KafkaClusterInspector(
                self._clients, self._topics, self._group_topics(), self._clock, self.readiness
            ),
            probes=self.probes,
        )

    def _supervise(self, stuck_restarts: int) -> Supervisor:
        return Supervisor(
            {name: partial(ROLES[name].build, self._shared) for name in self._roles},
            self._clock,
            self.meter,
            stuck_restarts=stuck_restarts,
            stuck_within_s=10 * max(self._limits.stuck_s, self._limits.settling_s),
            obstacle=self._obstacle,
            explain=self._explain,
        )

    def _explain(self, error: BaseException) -> str | None:
        """A sentence for an error of a role that a missing right has caused."""
        sentence = self._clients.missing_right(error)
        if sentence is not None:
            self._rights.suspect()
        return sentence

    def _obstacle(self, role: str) -> str | None:
        """Why a role cannot be started at present, although Kafka answers."""
        topics = self._cluster.readiness()["topics"] if self._cluster is not None else None
        return topics or self._rights.obstacle(role)

    async def start(self) -> None:
        """Connect and start the roles; raises `Unavailable` or `ConfigError` when the process cannot work at all.

        When it raises or is cancelled, nothing is left running, and it may be called again.
        """
        try:
            await self._start()
        except BaseException as error:
            if isinstance(error, RightMissing):
                self.dependencies.of("kafka").up()
            elif isinstance(error, Unavailable):
                self.dependencies.of("kafka").down(str(error))
            await self.stop()
            raise

    async def _start(self) -> None:
        accept_undecodable_header_names()
        topics = sorted(self._topics.all_names())
        if self._tracer is not None:
            await self._parts.open("tracer", self._tracer.start, self._tracer.stop)
        await self._parts.open("loop watch", self._loop_watch.start, self._loop_watch.stop)
        await self._check_rights()
        await self._parts.open("log", lambda: self._log.start(topics), self._log.close)
        await self._check_topics()
        await self._parts.open("directory", self._feed.start, self._feed.stop)
        await self._parts.open("sender", self._sender.start, self._sender.close)
        stop = partial(self._supervisor.stop, self._settings.stop_seconds + _STOP_S)
        await self._parts.open("roles", self._supervisor.start, stop)
        care = Tasks(self._care)
        await self._parts.open("care", care.start, care.stop)

    async def _check_rights(self) -> None:
        """Raise `RightMissing` for a right without which the process cannot start any role, and `Unavailable`."""
        await self._rights.check()
        if (reason := self._rights.lacking(common_rights(self._needed))) is not None:
            raise RightMissing(reason)

    async def stop(self) -> bool:
        """Stop the roles, then the connections, within seconds; False when something had to be left behind.

        However far the start has come; after `start` was cancelled, not beside it.
        """
        return await self._parts.close()

    async def given_up(self) -> str:
        """Wait until the process should end because a role cannot be restarted. Returns the reason."""
        return await self._supervisor.given_up()

    def readiness(self) -> dict[str, str | None]:
        """Role → None if it can process new events, otherwise the reason why it cannot."""
        cluster = {"kafka": self.dependencies.of("kafka").trouble}
        if self._cluster is not None:
            cluster = self._cluster.readiness()
        roles = {role: self._rights.trouble(role) or why for role, why in self._supervisor.readiness().items()}
        return cluster | {"directory": self._feed.ready() or self._ring_watch.trouble} | roles

    def _notes(self) -> dict[str, object]:
        missing = self._input_topics.warnings if self._input_topics is not None else []
        return {"dependencies": self.dependencies.states(), "warnings": [*self._supervisor.warnings, *missing]}

    def probes(self, application: web.Application) -> web.Application:
        """The application, with /healthz, /readyz and /metrics of this process."""
        return add_probes(application, self.meter.exposition, self.readiness, self._notes)

    def _care(self) -> list[Coroutine[Any, Any, None]]:
        groups = self._group_topics()
        mine = {group: topics for group, topics in groups.items() if group in map(self._group, self._roles)}
        watchdog = WatchdogLoop(
            self._limits,
            self._clock,
            self._supervisor,
            {self._group(role): role for role in GROUPS},
            self._log.waits_until_s,
        )
        sampler = LagSampler(
            self._clients,
            mine,
            self._topics,
            self._clock,
            self.meter,
            partitions=self._partitions_of,
            every_s=every_s(self._limits),
            on_sample=lambda group, spans: watchdog.look(group, spans if self._may_work(group) else None),
        )
        counts = {name: self._log.partitions(name) for name in self._topics.all_names()}
        self._cluster = ClusterWatch(
            self._clients, counts, self.dependencies.of("kafka"), self._clock, self._rights, self._restart_readers
        )
        watches = [sampler.run(), self._cluster.run(), self._watch_loop()]
        return watches if self._input_topics is None else [*watches, self._input_topics.run()]

    def _renew_reader(self, role: str) -> None:
        """Replace a role that was refused to read or to join its group: it may wait for ever."""
        self._supervisor.renew(role, "a right on Kafka was missing")

    def _restart_readers(self, topic: str) -> None:
        """Restart the roles that read a recreated topic, because a start compares the ids of the logs."""
        for role in self._roles:
            if topic in (self._topics.name(each) for each in GROUPS.get(role, ())):
                self._supervisor.renew(role, f"topic {topic} was deleted and created again")

    def _may_work(self, group: str) -> bool:
        """Whether the role of a group has its rights, so that it can be judged by its progress."""
        return all(self._rights.trouble(role) is None for role in self._roles if self._group(role) == group)

    def _partitions_of(self, topic: str) -> int:
        """The number of partitions of a topic that a group reads."""
        of_input = self._input_topics.partitions(topic) if self._input_topics is not None else None
        return of_input or self._log.partitions(topic)

    def _group_topics(self) -> dict[str, list[str]]:
        """Each consumer group and its topics; the list of those of inputs changes."""
        own = {role: [self._topics.name(each) for each in names] for role, names in GROUPS.items() if names}
        of_inputs = {} if self._input_topics is None else {_INTAKE: self._input_topics.names}
        return {self._group(role): names for role, names in (of_inputs | own).items()}

    async def _watch_loop(self) -> None:
        """Update once a second: the event loop's lag, the counts of the directory, and the readiness of the process."""
        self.meter.gauge("attempts_in_flight_limit", self._settings.max_in_flight)
        gauges = StateGauges(self.meter, self.readiness, self._supervisor.running, self._feed, self._roles)
        while True:
            self._ring_watch.look()
            self._life.look()
            begun = self._clock.monotonic()
            await self._clock.sleep(1.0)
            self.meter.gauge("event_loop_lag_seconds", max(0.0, self._clock.monotonic() - begun - 1.0))
            gauges.set()

    async def until_ready(self) -> None:
        """Return when every role can process new events."""
        while any(self.readiness().values()):
            await self._clock.sleep(0.05)

    def _group(self, role: str) -> str:
        return group_of(self._settings, role)


def _top_endpoints(settings: Settings, clock: SystemClock) -> TopEndpoints | None:
    number = settings.metrics_top_endpoints
    return TopEndpoints(number, clock) if number else None
