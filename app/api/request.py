"""One request as handlers see it, and the services that handlers use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from app.api.grants import GrantSigner
from app.api.problems import ApiError
from app.api.pull_waits import PullWaits
from app.core.model.event import Mode
from app.core.model.receiver_auth import MutualTls
from app.core.model.sealed_auth import ReadCertificate
from app.core.model.tenant import ApiKey, KeyScope
from app.core.schemas.graph import BadSchema
from app.core.subjects import SubjectVault
from app.core.topics.declarations import Topics
from app.ports.clock import Clock
from app.ports.history import HistoryReader, OffsetQueries, RecordReader, ReplayEstimator
from app.ports.http import Sender
from app.ports.producer import Producer
from app.ports.pulls import PullLog
from app.ports.readmodel import ReadStore
from app.ports.registry import CommandSender, DirectoryFeed
from app.ports.secrets import KeyRing, TokenGenerator
from app.ports.tracing import Tracer
from app.profiles.catalog import CatalogueEntry
from app.profiles.requests import RequestBuilder

_MAX_PAGE = 100


class Caller(msgspec.Struct, frozen=True):
    """The caller of a request."""

    #: of the key, for limits and idempotency
    id: str
    tenant: str = ""
    mode: Mode = "live"
    scopes: tuple[KeyScope, ...] = ()
    operator: bool = False
    #: what the audit log says of who asks; empty: the key's id
    actor: str = ""
    #: whose allowance its requests use up: the key behind a portal link; empty: `id`
    answers_for: str = ""

    @property
    def payer(self) -> str:
        """The key, or else the caller, that the rate limit counts the request for."""
        return self.answers_for or self.id

    @property
    def name(self) -> str:
        """The name of the caller in the audit log."""
        return self.actor or self.id

    @property
    def type_owner(self) -> tuple[str, Mode | Literal[""]]:
        """Tenant and mode of the event types that it declares; both are empty for the installation's catalogue."""
        return ("", "") if self.operator else (self.tenant, self.mode)

    @classmethod
    def of(cls, key: ApiKey) -> Caller:
        """The caller that a key identifies."""
        return cls(key.id, key.tenant, key.mode, key.scopes)


class ApiRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request, decoded and authorised."""

    caller: Caller
    #: what the path's placeholders are
    path: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    #: of the route's type; None: it takes none, or none came
    body: Any = None
    #: SHA-256 of method, path and body
    fingerprint: str = ""
    idempotency_key: str | None = None
    #: the value of X-Request-Id in its response; empty: it came over no socket
    id: str = ""

    def expected_version(self) -> int | None:
        """The version in If-Match; None without the header, or for `*`."""
        text = self.headers.get("if-match", "*").strip()
        if text == "*":
            return None
        number = text.removeprefix("W/").strip('"')
        if not (number.isascii() and number.isdigit() and len(number) < 19):
            raise ApiError(412, "conflict", "If-Match: use a version of this resource from its ETag")
        return int(number)

    def keyed(self, what: str) -> str | None:
        """Text that identifies the request by its caller and Idempotency-Key; None without a key."""
        return f"{what}/{self.caller.id}/{self.idempotency_key}" if self.idempotency_key else None

    def limit(self) -> int:
        """The number of entries of a page."""
        text = self.query.get("limit", "20")
        if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= _MAX_PAGE):
            raise ApiError(400, "invalid_query", f"limit: 1 to {_MAX_PAGE}")
        return int(text)


class ApiResponse(msgspec.Struct, frozen=True, kw_only=True):
    """The response of a handler; its status is in the table of routes."""

    body: Any = None
    headers: Mapping[str, str] = {}
    #: not to be kept for a repetition of the request
    transient: bool = False
    #: what a repetition gets in its place; None: the same
    again: Callable[[], ApiResponse] | None = None


class ApiServices(msgspec.Struct, frozen=True, kw_only=True):
    """The services that handlers use."""

    feed: DirectoryFeed
    commands: CommandSender
    log: Producer
    ends: OffsetQueries
    #: what a replay may begin with, and what it would deliver
    past: HistoryReader
    counter: ReplayEstimator
    #: the read model, and single records of Kafka
    reads: ReadStore
    records: RecordReader
    #: the log of pull endpoints, and who waits for it
    pulls: PullLog
    pull_waits: PullWaits = msgspec.field(default_factory=PullWaits)
    sender: Sender
    keyring: KeyRing
    minter: TokenGenerator
    clock: Clock
    topics: Topics
    builder: RequestBuilder
    catalogue: Mapping[str, Mapping[str, CatalogueEntry]]
    #: the partition of a key, as all our records have it
    partition_for: Callable[[str, bytes], int]
    max_event_bytes: int
    #: the error in a JSON Schema and its location; None: the schema is valid
    schema_problem: Callable[[str], BadSchema | None]
    #: reads a client certificate with its key, at a time in ms since the epoch; raises `BadAuth`
    read_certificate: Callable[[MutualTls, int], ReadCertificate]
    tokens: GrantSigner
    #: seals and opens the bodies of events with a subject
    subjects: SubjectVault
    #: where browsers find this service, `https://host`; empty: where they have found it
    public_url: str
    #: days that the read model keeps rows
    retention_days: float
    #: http:// is allowed, towards this machine
    allow_http: bool = False
    #: addresses and networks that requests to endpoints come from, as the installation has published them
    egress_ips: tuple[str, ...] = ()
    #: exports spans; None: tracing is off
    tracer: Tracer | None = None
    #: for whom this is, in the audit log; see `acting`
    actor: str = ""

    def acting(self, actor: str) -> ApiServices:
        """These services for one request; the audit log names its caller."""
        return msgspec.structs.replace(self, actor=actor)

    async def command(self, action: Any, entity: str) -> None:
        """Send a command to the registry, and return when this process has read its effect."""
        await self.commands.call(action, entity=entity, actor=self.actor)
        await self.feed.catch_up_after_reply()
