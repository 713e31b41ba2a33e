"""Build the API role."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from importlib.metadata import version

import structlog
from aiohttp import web

from app.adapters.http.client_certificates import read_certificate
from app.adapters.http.listener import OnClosed
from app.adapters.http.request_timing import timed
from app.adapters.http.web_server import WebServer
from app.adapters.json_schemas import schema_problem
from app.adapters.kafka.command_client import CommandClient
from app.adapters.kafka.offsets import KafkaOffsets
from app.adapters.kafka.pull_log import KafkaPullLog
from app.adapters.kafka.record_reader import KafkaRecordReader
from app.adapters.secrets.keyring import AesKeyRing, AesSealer
from app.adapters.secrets.tokens import RandomTokens
from app.api.grants import GrantSigner
from app.api.request import ApiServices
from app.api.server.authentication import Authenticator
from app.api.server.rate_limits import CallLimits
from app.api.server.role import ApiRole
from app.api.server.server import Server
from app.core.connection_book import ConnectionLimits
from app.core.topics.names import TopicName
from app.dashboard.assets import Assets
from app.dashboard.live import LiveHub
from app.dashboard.login_throttle import LoginThrottle
from app.dashboard.rendering import Renderer
from app.dashboard.request import PageContext
from app.dashboard.server.security_headers import FramePolicy
from app.dashboard.server.site import Site
from app.data import EVENT_TYPES
from app.ports.cluster import ClusterInspector
from app.profiles.catalog import load_catalogue
from app.profiles.requests import RequestBuilder
from app.roles.replay.role.dry_run import DryRun
from app.runtime.build.projection import tenant_read_store
from app.runtime.build.replay import replay_sources
from app.runtime.build.shared import ListenAddress, Shared
from app.runtime.group_names import pull_group_of
from app.settings import Settings

log = structlog.get_logger(__name__)
_CLIENT = "hookstream-api"


def api_role(shared: Shared) -> ApiRole:
    """A new API role."""
    settings, meter = shared.settings, shared.meter

    def listen(application: web.Application) -> AbstractAsyncContextManager[int]:
        application.middlewares.insert(0, timed(meter, shared.clock))
        return _listening(
            shared.address,
            shared.probes(application),
            _limits(settings),
            lambda reason: meter.count("api_connections_closed_total", reason=reason),
        )

    return ApiRole(
        services=partial(_services, shared),
        listen=listen,
        limits=lambda: CallLimits(settings.api_rate_limit, settings.api_rate_limit_per_tenant),
        version=version("hookstream"),
        operator_token=_operator_token(settings),
        mount=partial(_mount_dashboard, settings, shared.inspector),
    )


@asynccontextmanager
async def _services(shared: Shared) -> AsyncIterator[ApiServices]:
    settings, keyring, past, pulls = shared.settings, shared.keyring, replay_sources(shared), _pulls(shared)
    commands, ends, records = _commands(shared), _ends(shared), KafkaRecordReader(shared.clients, client_id=_CLIENT)
    reads = tenant_read_store(settings, shared.feed, shared.clock, shared.dependencies.of("database_reads"))
    try:
        await commands.start()
        await ends.start()
        yield ApiServices(
            feed=shared.feed,
            commands=commands,
            log=shared.producer,
            ends=ends,
            past=past.reader,
            counter=DryRun(past),
            reads=reads,
            records=records,
            pulls=pulls,
            sender=shared.sender,
            keyring=keyring,
            minter=RandomTokens(),
            clock=shared.clock,
            topics=shared.topics,
            builder=RequestBuilder(keyring.open, settings.time_scale, keyring.signer),
            catalogue=load_catalogue(EVENT_TYPES),
            partition_for=shared.producer.partition_for,
            max_event_bytes=settings.max_event_bytes,
            schema_problem=schema_problem,
            read_certificate=read_certificate,
            tokens=_tokens(settings, keyring),
            subjects=shared.subjects,
            public_url=settings.public_url or "",
            retention_days=settings.retention_days,
            allow_http=settings.allow_http,
            egress_ips=settings.egress_ips,
            tracer=shared.tracer,
        )
    finally:
        await asyncio.gather(pulls.stop(), records.stop(), reads.close())
        await past.reader.close()
        await ends.stop()
        await commands.stop()


def _commands(shared: Shared) -> CommandClient:
    return CommandClient(
        shared.clients,
        commands=shared.name(TopicName.REGISTRY_COMMANDS),
        replies=shared.name(TopicName.REGISTRY_REPLIES),
        client_id=_CLIENT,
        clock=shared.clock,
    )


def _mount_dashboard(
    settings: Settings,
    operations: ClusterInspector,
    services: ApiServices,
    gate: Authenticator,
    server: Server,
    application: web.Application,
) -> None:
    site(settings, services, gate, server, operations).add_to(application)


def _ends(shared: Shared) -> KafkaOffsets:
    return KafkaOffsets(
        shared.clients,
        client_id=_CLIENT,
        events=shared.name(TopicName.EVENTS_RAW),
        fanout_group=shared.group("fanout"),
    )


def _pulls(shared: Shared) -> KafkaPullLog:
    return KafkaPullLog(
        shared.clients,
        client_id=_CLIENT,
        topic=shared.name(TopicName.DELIVERIES_PULL),
        group_prefix=pull_group_of(shared.settings, ""),
        clock=shared.clock,
    )


def _operator_token(settings: Settings) -> str | None:
    if settings.admin_token is None:
        log.warning("api.no_operator", reason="HOOKSTREAM_ADMIN_TOKEN is not set: nobody can make keys")
        return None
    return settings.admin_token.reveal()


def _tokens(settings: Settings, keyring: AesKeyRing) -> GrantSigner:
    """The signer of sessions and links. Another key ring or operator's token invalidates them all."""
    token = settings.admin_token.reveal() if settings.admin_token else ""
    key = keyring.derive(f"sessions/{token}")
    return GrantSigner(key, AesSealer(key))


def _limits(settings: Settings) -> ConnectionLimits:
    return ConnectionLimits(total=settings.api_connections, per_address=settings.api_connections_per_address)


@asynccontextmanager
async def _listening(
    address: ListenAddress, application: web.Application, limits: ConnectionLimits, on_closed: OnClosed
) -> AsyncIterator[int]:
    server = WebServer(
        address.host,
        address.port,
        application,
        setting="HOOKSTREAM_API_PORT",
        elsewhere=address.elsewhere,
        limits=limits,
        on_closed=on_closed,
    )
    address.port = await server.start()
    try:
        yield address.port
    finally:
        await server.stop()


def site(
    settings: Settings, services: ApiServices, gate: Authenticator, server: Server, operations: ClusterInspector
) -> Site:
    """The pages over an API's services."""
    number = version("hookstream")
    renderer = Renderer(services.feed, services.clock, Assets(), version=number)
    desk = PageContext(
        api=services,
        hub=LiveHub(services.clock, services.minter.id("live")),
        operations=operations,
        gate=gate,
        login_throttle=LoginThrottle(),
        render=renderer.part,
    )
    return Site(desk, renderer, server, FramePolicy(settings.portal_origins))
