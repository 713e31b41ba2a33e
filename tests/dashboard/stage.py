"""The dashboard on a real socket, over fakes at the ports: two tenants, and browsers that keep cookies."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from app.adapters.http.client_certificates import read_certificate
from app.adapters.http.web_server import WebServer
from app.adapters.json_schemas import schema_problem
from app.adapters.secrets.keyring import AesKeyRing, AesSealer, generate_ring
from app.adapters.secrets.subject_vault import AesSubjectKeeper, AesSubjectVault
from app.api.grants import GrantSigner
from app.api.request import ApiServices
from app.api.server.authentication import Authenticator
from app.api.server.rate_limits import CallLimits
from app.api.server.server import Server
from app.core.directory import Directory
from app.core.model.endpoint import Endpoint
from app.core.model.event import Mode
from app.core.model.replay import ReplayEstimate
from app.core.model.tenant import ApiKey, KeyScope, Tenant
from app.core.records.command import Command, CommandAction, CommandReply, CreateEndpoint
from app.core.records.registry import apply, encode
from app.data import EVENT_TYPES
from app.ports.cluster import ClusterState, GroupState, TopicState
from app.profiles.catalog import PROFILES, load_catalogue
from app.profiles.requests import RequestBuilder
from app.roles.registry.audit import entry_of
from app.roles.registry.decisions import decide
from app.runtime.build.api import site
from app.runtime.topics import topics_of
from app.settings import Settings
from tests.fakes.clock import FakeClock
from tests.fakes.feed import MemoryFeed
from tests.fakes.log import MemoryLog
from tests.fakes.pulls import MemoryPulls
from tests.fakes.readmodel import MemoryReads
from tests.fakes.records import MemoryRecords
from tests.fakes.sender import ScriptedSender
from tests.roles.replay.replay_stage import MemoryReader

OPERATOR = "op_of_these_tests"
KEYS = {("acme", "live"): "sk_live_acme", ("acme", "test"): "sk_test_acme", ("other", "live"): "sk_live_other"}
READ_ONLY = "sk_live_acme_read"
ROOT = Path(__file__).parents[2]


class CountingMinter:
    """`app.ports.secrets.TokenGenerator` whose ids a test can read."""

    def __init__(self) -> None:
        self._number = 0

    def id(self, prefix: str) -> str:
        self._number += 1
        return f"{prefix}_{self._number}"

    def secret(self) -> str:
        self._number += 1
        return f"whsec_{self._number:032}"

    def api_key(self, mode: str) -> str:
        self._number += 1
        return f"sk_{mode}_{self._number}"


class Cluster:
    """`app.ports.cluster.Operations`."""

    def __init__(self) -> None:
        self.roles: dict[str, str | None] = {"fanout": None, "delay": "joining its group"}

    async def cluster(self) -> ClusterState:
        topic = TopicState(name="events.raw", partitions=4, replication=1, records=12, drift=["it has 4, not 12"])
        group = GroupState(group="hookstream.fanout", topic="events.raw", state="Stable", lag=3, members={"m": [0, 1]})
        return ClusterState(topics=[topic], groups=[group], at_ms=0)

    def readiness(self) -> Mapping[str, str | None]:
        return self.roles


class Stage:
    """The service that the browsers see, and what stands behind it."""

    def __init__(self, settings: Settings) -> None:
        self.clock = FakeClock()
        self.feed = MemoryFeed()
        self.feed.directory = Directory(lambda profile: PROFILES[profile].opt_in)
        self.log = MemoryLog(self.clock)
        self.pulls = MemoryPulls(self.log, self.clock)
        self.sender = ScriptedSender()
        self.reads = MemoryReads()
        self.cluster = Cluster()
        self.ring = AesKeyRing(generate_ring())
        self.counts = ReplayEstimate()
        self.actors: list[str] = []
        self.url = ""
        self.services = self._services(settings)
        self.settings = settings
        self.server: Server

    def _services(self, settings: Settings) -> ApiServices:
        topics = topics_of(settings)
        return ApiServices(
            feed=self.feed,
            commands=self,
            log=self.log,
            ends=self,
            past=MemoryReader(self.log, self.clock),
            counter=self,
            reads=self.reads,
            records=MemoryRecords(self.log),
            pulls=self.pulls,
            sender=self.sender,
            keyring=self.ring,
            minter=CountingMinter(),
            clock=self.clock,
            topics=topics,
            builder=RequestBuilder(self.ring.open, 1.0, self.ring.signer),
            catalogue=load_catalogue(EVENT_TYPES),
            partition_for=lambda topic, key: 0,
            max_event_bytes=65_536,
            schema_problem=schema_problem,
            read_certificate=read_certificate,
            subjects=AesSubjectVault(lambda: self.feed.directory.erasures, self.ring),
            tokens=GrantSigner(self.ring.derive("sessions/"), AesSealer(b"k")),
            public_url=settings.public_url or "",
            retention_days=30,
            allow_http=settings.allow_http,
            egress_ips=settings.egress_ips,
        )

    async def call(
        self, action: CommandAction, *, entity: str, actor: str = "", timeout_s: float = 15.0
    ) -> CommandReply:
        """`app.ports.registry.CommandSender`: the registry, at once."""
        command = Command(id="c", issued_at_ms=0, action=action, actor=actor)
        directory, now_ms = self.feed.directory, self.clock.now_ms()
        changes = decide(command, directory, now_ms, PROFILES, keeper=AesSubjectKeeper(self.ring))
        first = changes[0] if changes else None
        entry = entry_of(command, first.key, first.value, first.version, directory, now_ms) if first else None
        for change in changes:
            apply(directory, change.key, encode(change.value))
        if entry is not None:
            self.reads.audited(entry)
        self.actors.append(actor)
        return CommandReply(command_id="c", ok=True)

    async def ends(self, topic: str) -> Mapping[int, int]:
        """`app.ports.history.OffsetQueries`."""
        return {0: 10}

    async def fanned_out(self) -> Mapping[int, int]:
        """`app.ports.history.OffsetQueries`."""
        return {0: 10}

    async def count(self, replay: object, *, within_s: float) -> ReplayEstimate:
        """`app.ports.history.ReplayEstimator`."""
        return self.counts

    def tenant(self, tenant: str, **more: Any) -> None:
        """Register one."""
        self.feed.directory.put_tenant(Tenant(id=tenant, **more))

    def key(self, plain: str, tenant: str, mode: Mode, *scopes: KeyScope, expires_at_ms: int | None = None) -> None:
        """Register a key; without scopes it may do all."""
        key = ApiKey(
            id=f"key_of_{plain}",
            tenant=tenant,
            mode=mode,
            digest=sha256(plain.encode()).hexdigest(),
            last4=plain[-4:],
            scopes=scopes or ("read", "write"),
            expires_at_ms=expires_at_ms,
        )
        self.feed.directory.put_key(key)

    def endpoint(self, tenant: str = "acme", mode: Mode = "live", id_: str = "ep_1", **more: Any) -> Endpoint:
        """Register one."""
        made = Endpoint(
            id=id_,
            tenant=tenant,
            mode=mode,
            events=more.pop("events", ("*",)),
            profile=more.pop("profile", "standard"),
            url=more.pop("url", f"https://{tenant}.example/{id_}"),
            secrets=(self.ring.seal("whsec_" + "c2VjcmV0" * 4, f"{tenant}/{id_}", self.clock.now_ms()),),
            created_at_ms=self.clock.now_ms(),
            **more,
        )
        self.feed.directory.put_endpoint(made)
        return made

    async def create(self, endpoint: Endpoint) -> None:
        """By a command, as the API does."""
        await self.call(CreateEndpoint(endpoint), entity=endpoint.id, actor="key_of_x")


class Browser:
    """One person: cookies are kept, redirects are shown and not followed."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.http = aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))

    async def get(self, path: str, **headers: str) -> tuple[int, str, Mapping[str, str]]:
        """Status, text, headers."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.http.get(self.stage.url + path, allow_redirects=False, headers=sent) as answer:
            return answer.status, await answer.text(), answer.headers.copy()

    async def post(
        self, path: str, form: Mapping[str, Any] | None = None, *, csrf: str | None = None, **headers: str
    ) -> tuple[int, str, Mapping[str, str]]:
        """With the form's token unless another one is given."""
        fields: list[tuple[str, str]] = [("csrf", self.csrf if csrf is None else csrf)]
        for name, value in (form or {}).items():
            fields += [(name, each) for each in ([value] if isinstance(value, str) else value)]
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.http.post(self.stage.url + path, data=fields, allow_redirects=False, headers=sent) as answer:
            return answer.status, await answer.text(), answer.headers.copy()

    async def sign_in(self, token: str, **more: str) -> tuple[int, str, Mapping[str, str]]:
        """Fill in the form."""
        _, page, _ = await self.get("/ui/sign-in")
        found = await self.post("/ui/sign-in", {"knock": hidden(page, "knock"), "token": token, **more}, csrf="")
        if found[0] == 303:
            key = next((scope for scope, plain in KEYS.items() if plain == token), ("acme", "live"))
            place = "/ui/tenants" if token == OPERATOR else f"/ui/t/{key[0]}/{key[1]}/overview"
            self.csrf = hidden((await self.get(place))[1], "csrf")
        return found

    csrf = ""


def hidden(page: str, name: str) -> str:
    """The value of a hidden field."""
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found, f"no field {name} on the page:\n{page[:2000]}"
    return found[1]


@asynccontextmanager
async def open_stage(*, operator: str | None = OPERATOR, **settings: Any) -> AsyncIterator[Stage]:
    """Two tenants; acme has two modes, an endpoint in each, and a key that may only read."""
    stage = Stage(Settings(**settings))
    for tenant in ("acme", "other"):
        stage.tenant(tenant)
    for (tenant, mode), plain in KEYS.items():
        stage.key(plain, tenant, mode)  # type: ignore[arg-type]
    stage.key(READ_ONLY, "acme", "live", "read")
    gate = Authenticator(stage.feed, operator)
    stage.server = server = Server(stage.services, gate, CallLimits(1000, 4000), "0")
    application = server.application()
    pages = site(stage.settings, stage.services, gate, server, stage.cluster)
    pages.add_to(application)
    listening = WebServer("127.0.0.1", 0, application, setting="HOOKSTREAM_API_PORT")
    stage.url = f"http://127.0.0.1:{await listening.start()}"
    try:
        yield stage
    finally:
        await listening.stop()


@asynccontextmanager
async def browser(stage: Stage, token: str = "") -> AsyncIterator[Browser]:
    """Somebody, signed in when a token is given."""
    somebody = Browser(stage)
    try:
        if token:
            status, page, _ = await somebody.sign_in(token)
            assert status == 303, page
        yield somebody
    finally:
        await somebody.http.close()


def changed(endpoint: Endpoint, **fields: Any) -> Endpoint:
    """The same with other fields."""
    return msgspec.structs.replace(endpoint, **fields)
