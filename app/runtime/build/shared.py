"""The objects that the roles of one process share: producer, directory, egress policy, the API's address."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from urllib.parse import urlsplit

from aiohttp import web
from msgspec import Struct

from app.adapters.dependencies import Dependencies
from app.adapters.http.egress_proxy import EgressProxy
from app.adapters.http.sender import HttpSender
from app.adapters.http.web_server import require_free_port
from app.adapters.kafka.clients import KafkaClients
from app.adapters.kafka.consumer import KafkaGroupConsumer
from app.adapters.kafka.directory_feed import KafkaDirectoryFeed
from app.adapters.kafka.producer import KafkaProducer
from app.adapters.secrets.keyring import AesKeyRing
from app.adapters.secrets.subject_vault import AesSubjectVault
from app.core import default_ports
from app.core.directory import Directory
from app.core.egress import EgressPolicy
from app.core.egress_proxy import ProxyAddress, ProxyExceptions
from app.core.topics.declarations import Topics
from app.core.topics.names import TopicName
from app.ports.clock import Clock, Randomness
from app.ports.cluster import ClusterInspector
from app.ports.dependencies import Dependency
from app.ports.metrics import EndpointMeter, Meter
from app.ports.tracing import Tracer
from app.profiles.catalog import PROFILES
from app.runtime.group_names import group_of
from app.runtime.record_reduction import reduced_for
from app.settings import Settings

#: attempt records may gather for that long: only the commit waits for them
_ATTEMPTS_LINGER_S = 0.005


class ListenAddress:
    """The address on which the API listens; a restart of the role keeps the port."""

    def __init__(self, host: str, port: int, *, elsewhere: bool) -> None:
        self.host = host
        self.port = port
        #: the port was not asked for: if it is taken, any free one will do
        self.elsewhere = elsewhere

    async def require_free(self) -> None:
        """Raise `Unavailable`, with the remedy, when the port was asked for and another process uses it."""
        if not self.elsewhere and self.port:
            await require_free_port(self.host, self.port, "HOOKSTREAM_API_PORT")


class Shared(Struct, frozen=True, kw_only=True):
    """The objects that the roles of one process share."""

    settings: Settings
    topics: Topics
    clients: KafkaClients
    producer: KafkaProducer
    feed: KafkaDirectoryFeed
    sender: HttpSender
    keyring: AesKeyRing
    egress: EgressPolicy
    clock: Clock
    randomness: Randomness
    meter: Meter
    #: counts the attempts of single endpoints; None: no endpoint has metrics of its own
    endpoint_meter: EndpointMeter | None
    #: exports spans; None: tracing is off
    tracer: Tracer | None
    #: the states of the systems that the process depends on
    dependencies: Dependencies
    #: where the role `api` listens
    address: ListenAddress
    #: the state of Kafka, for the operator's page
    inspector: ClusterInspector
    #: adds /healthz, /readyz and /metrics to an application
    probes: Callable[[web.Application], web.Application]

    @property
    def subjects(self) -> AesSubjectVault:
        """Seals and opens the bodies of events with a subject; each caller gets its own."""
        return AesSubjectVault(lambda: self.feed.directory.erasures, self.keyring)

    def group(self, role: str) -> str:
        """The name of a role's consumer group."""
        return group_of(self.settings, role)

    def name(self, logical: str) -> str:
        """The name of a topic."""
        return self.topics.name(logical)

    def source(self, role: str, topics: Sequence[str], *, fetch_bytes: int = 1024 * 1024) -> KafkaGroupConsumer:
        """A consumer in the role's group over these logical topics."""
        return KafkaGroupConsumer(
            self.clients,
            group=self.group(role),
            client_id=f"hookstream-{role}",
            topics=[self.topics.name(topic) for topic in topics],
            session_s=self.settings.session_timeout,
            instance=self.settings.instance_id,
            max_partition_fetch_bytes=fetch_bytes,
        )


def ports_of(settings: Settings, clients: KafkaClients) -> set[int]:
    """The ports of Kafka and of the database."""
    ports = {int(server.rpartition(":")[2]) for server in clients.connection.bootstrap.split(",") if ":" in server}
    url = urlsplit(settings.database_url.reveal()) if settings.database_url else None
    if url is not None and url.scheme.startswith("postgres"):
        ports.add(url.port or default_ports.POSTGRESQL)
    return ports


def producer_of(clients: KafkaClients, topics: Topics, meter: Meter) -> KafkaProducer:
    """The producer of all roles in this process."""
    return KafkaProducer(
        clients,
        client_id="hookstream",
        meter=meter,
        linger_s={topics.name(TopicName.ATTEMPTS): _ATTEMPTS_LINGER_S},
        reduce=partial(reduced_for, topics),
    )


def egress_policy(settings: Settings) -> EgressPolicy:
    """The policy for destinations of requests to endpoints."""
    return EgressPolicy(
        allow=EgressPolicy.networks(settings.egress_allow),
        allow_http=settings.allow_http,
        ports=frozenset(map(int, settings.egress_ports)) or None,
    )


def egress_proxy(settings: Settings, status: Dependency | None = None) -> EgressProxy | None:
    """The proxy for requests to endpoints; None: they are sent directly."""
    if settings.egress_proxy is None:
        return None
    address = ProxyAddress.parse(settings.egress_proxy.reveal())
    return EgressProxy(address, ProxyExceptions(settings.egress_no_proxy), status)


def directory_feed(clients: KafkaClients, topics: Topics, meter: Meter) -> KafkaDirectoryFeed:
    """The directory of this process, which follows the registry topic."""
    return KafkaDirectoryFeed(
        clients,
        topics.name(TopicName.REGISTRY),
        client_id="hookstream-directory",
        meter=meter,
        directory=Directory(lambda profile: PROFILES[profile].opt_in if profile in PROFILES else ()),
    )
