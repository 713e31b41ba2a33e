"""The registry role: applies commands one after the other. It is the only writer of `registry`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import structlog

from app.core.directory import Directory
from app.core.errors import CommandRefused, Defect, RecordTooLarge
from app.core.limits import DEFAULT_LIMITS, TenantLimits
from app.core.model.clipping import clip
from app.core.model.endpoint import Endpoint
from app.core.model.event_types import EventType
from app.core.model.receiver_auth import OAuthClientCredentials
from app.core.offsets.progress import PartitionProgress, RoleReport
from app.core.records import audit
from app.core.records.audit import AuditEntry
from app.core.records.command import Command, CommandReply, DeleteTenant
from app.core.records.registry import apply, encode, read_command
from app.core.sampling import Sampled
from app.core.schemas.graph import BadSchema
from app.core.subjects import SubjectKeeper
from app.ports.clock import Clock
from app.ports.consumer import Record
from app.ports.metrics import Meter
from app.ports.registry import RegistryStore
from app.roles.registry import erasures, tenants
from app.roles.registry.audit import entry_of
from app.roles.registry.changes import RegistryChange
from app.roles.registry.decisions import decide

logger = structlog.get_logger(__name__)
#: bytes of a state at most: it must fit into a record, and a hundred of them into a transaction
_MAX_STATE_BYTES = 256 * 1024
#: characters of a command's id or an entity's name at most
_MAX_NAME = 1024
#: bytes of JSON of a reply's detail at most; it may quote the command
_MAX_DETAIL = 8192
#: steps of removing what deleted tenants hold, between two polls for commands
_SWEEPS = 5
#: log lines about changes in a minute at most
_CHANGES_PER_MINUTE = 300


class RegistryRole:
    """One candidate for the writer. Many may run; one of them writes."""

    def __init__(
        self,
        *,
        store: Callable[[], RegistryStore],
        clock: Clock,
        meter: Meter,
        profiles: Collection[str],
        url_problem: Callable[[str], str | None] = lambda url: None,
        schema_problem: Callable[[str], BadSchema | None] = lambda schema: None,
        secret_problem: Callable[[Endpoint, int], str | None] = lambda endpoint, now_ms: None,
        most: TenantLimits = DEFAULT_LIMITS,
        keeper: SubjectKeeper | None = None,
    ) -> None:
        """The three functions return a sentence, or None if all is well: `url_problem` why the operator's egress policy
        forbids a URL, `schema_problem` why a JSON Schema cannot be used, `secret_problem` why an endpoint's requests
        could not be signed. `most` are the limits of one tenant; `keeper` changes the tree of subjects' keys.
        """
        self._make_store = store
        self._clock = clock
        self._meter = meter
        self._profiles = profiles
        self._url_problem = url_problem
        self._schema_problem = schema_problem
        self._secret_problem = secret_problem
        self._most = most
        self._keeper = keeper
        self._ready = False
        self._store: RegistryStore | None = None
        #: the offset of the first command of the open transaction
        self._open: int | None = None
        #: offsets of commands whose result is too large for Kafka; they are refused when they are read again
        self._too_large: set[int] = set()
        #: below that offset each command has its own transaction, to find out which of them is too large
        self._alone_until = 0
        #: deleted tenants that may still hold something
        self._deleted: set[str] = set()
        self._changes = Sampled(most=_CHANGES_PER_MINUTE, every_s=60.0)

    def ready(self) -> str | None:
        """None once this process has joined the writers' group, even if another one writes; otherwise the reason."""
        standing_by = self._store is not None and self._store.stands_by()
        return None if self._ready or standing_by else "joining the group of registry writers"

    def report(self) -> RoleReport:
        """Progress for the watchdog: a transaction was committed, or commands were read."""
        assigned = self._store.assigned_place() if self._store else None
        if assigned is None:
            return RoleReport()  # another process writes, or none yet
        place, read = assigned
        return RoleReport({place: PartitionProgress(read if self._open is None else self._open, (read or 0,))})

    async def run(self) -> None:
        """Work until cancelled. A failed transaction ends the run, unless a record was too large: then the directory
        and the commands are read again.
        """
        store = self._store = self._make_store()
        try:
            await store.start()
            while True:
                directory = Directory(matches=False)
                await store.chosen(directory)
                self._deleted = tenants.unfinished(directory)
                self._ready = True
                while store.is_writer():
                    records = await store.poll()
                    if records and not await self._applied(store, directory, records):
                        break  # the directory is ahead of the log: read both again
                    await self._sweep(store, directory)
                    if self._keeper is not None and not directory.erasures.keys:
                        await self._make_subject_keys(store, directory, self._keeper)
        finally:
            self._ready = False
            await store.stop()

    async def _make_subject_keys(self, store: RegistryStore, directory: Directory, keeper: SubjectKeeper) -> None:
        """Write the first tree of subjects' keys."""
        assigned = store.assigned_place()
        if assigned is None or assigned[1] is None or not store.is_writer():
            return
        changes = erasures.first_keys(directory, self._clock.now_ms(), keeper)
        states = [(change.key, encode(change.value)) for change in changes]
        await store.commit(states, [], [], assigned[1])
        for key, value in states:
            apply(directory, key, value)
        logger.info("registry.subject_keys_made")

    async def _sweep(self, store: RegistryStore, directory: Directory) -> None:
        """Remove some of what deleted tenants hold; commands have their turn between two calls."""
        for _ in range(_SWEEPS if self._deleted else 0):
            tenant_id, assigned = min(self._deleted, default=None), store.assigned_place()
            if tenant_id is None or assigned is None or assigned[1] is None or not store.is_writer():
                return
            changes = tenants.sweep(directory, tenant_id)
            if not changes:
                self._deleted.discard(tenant_id)
                logger.info("registry.tenant_removed", tenant=tenant_id)
                continue
            await store.commit([(change.key, None) for change in changes], [], [], assigned[1])
            for change in changes:
                apply(directory, change.key, None)

    async def _applied(self, store: RegistryStore, directory: Directory, records: Sequence[Record]) -> bool:
        """Apply commands; False if a record was too large for its topic, and nothing from there on was written."""
        alone = records[0].offset < self._alone_until
        for some in [[record] for record in records] if alone else [list(records)]:
            self._open = some[0].offset
            try:
                await self._apply(store, directory, some)
            except RecordTooLarge as error:
                logger.error("registry.too_large", first=some[0].offset, last=some[-1].offset, error=str(error))
                if len(some) == 1:
                    self._too_large.add(some[0].offset)
                self._alone_until = records[-1].offset + 1
                return False
            self._open = None
        return True

    async def _apply(self, store: RegistryStore, directory: Directory, records: Sequence[Record]) -> None:
        states: list[tuple[str, bytes | None]] = []
        entries: list[AuditEntry] = []
        replies: list[tuple[str, bytes]] = []
        for record in records:
            key = (record.key or b"").decode("utf-8", "replace")
            reply = self._decide(directory, record, key, states, entries)
            if reply is not None:
                body = encode(reply)
                if body is None:
                    raise Defect("a reply has no body")
                replies.append((reply.command_id, body))
        await store.commit(
            states, [(entry.tenant, audit.encode(entry)) for entry in entries], replies, records[-1].offset + 1
        )
        self._note(entries)

    def _note(self, entries: Sequence[AuditEntry]) -> None:
        """Log the changes; their values are in `audit`, and not in the log."""
        for entry in entries:
            omitted = self._changes.take(self._clock.monotonic())
            if omitted is not None:
                logger.info(
                    "registry.changed",
                    action=entry.action,
                    entity=entry.entity,
                    version=entry.version,
                    tenant=entry.tenant,
                    mode=entry.mode,
                    actor=entry.actor,
                    **({"left_out": omitted} if omitted else {}),
                )

    def _decide(
        self,
        directory: Directory,
        record: Record,
        key: str,
        states: list[tuple[str, bytes | None]],
        entries: list[AuditEntry],
    ) -> CommandReply | None:
        """Apply one command to the directory and the transaction; returns its reply, None if its id is unreadable."""
        try:
            command = read_command(record.value)
            if len(command.id) > _MAX_NAME:
                raise CommandRefused("unreadable", "the command's id is too long")
        except CommandRefused as error:
            logger.error("registry.unreadable", offset=record.offset, key=key[:200], error=error.detail)
            self._meter.count("registry_commands_total", result=error.code)
            return None
        try:
            if record.offset in self._too_large:
                raise CommandRefused("invalid", "the result exceeds the maximum size of a record of the registry")
            changes = decide(command, directory, self._clock.now_ms(), self._profiles, self._most, self._keeper)
            values = [self._checked(change, directory) for change in changes]
            entry = self._entry(command, changes, directory)
        except CommandRefused as error:
            self._meter.count("registry_commands_total", result=error.code)
            return CommandReply(
                command_id=command.id, ok=False, code=error.code, detail=clip(error.detail, _MAX_DETAIL)
            )
        except Exception as error:  # it must not stop the commands behind it: it would be read again for ever
            logger.exception("registry.command_failed", offset=record.offset, key=key[:200])
            self._meter.count("registry_commands_total", result="defect")
            detail = clip(f"it could not be applied: {error!r}", _MAX_DETAIL)
            return CommandReply(command_id=command.id, ok=False, code="defect", detail=detail)
        if entry is not None:
            entries.append(entry)
        for change, value in zip(changes, values, strict=True):
            apply(directory, change.key, value)
            states.append((change.key, value))
        if isinstance(command.action, DeleteTenant):
            self._deleted.add(command.action.id)
        self._meter.count("registry_commands_total", result="ok")
        return CommandReply(command_id=command.id, ok=True, version=changes[0].version if changes else 0)

    def _entry(self, command: Command, changes: Sequence[RegistryChange], directory: Directory) -> AuditEntry | None:
        """The audit entry of a command; its first change is that of the entity that it names."""
        if not changes:
            return None
        first = changes[0]
        return entry_of(command, first.key, first.value, first.version, directory, self._clock.now_ms())

    def _checked(self, change: RegistryChange, directory: Directory) -> bytes | None:
        """The value of a change's record. Raises `CommandRefused` when it breaks a rule or is too large."""
        if isinstance(change.value, Endpoint):
            self._check_endpoint(change.value, directory.endpoint(change.value.id))
        if len(change.key) > _MAX_NAME:
            raise CommandRefused("invalid", f"its name is longer than {_MAX_NAME} characters")
        if isinstance(change.value, EventType) and change.value.schema is not None:
            bad = self._schema_problem(change.value.schema)
            if bad is not None:
                raise CommandRefused("invalid", f"schema: {bad}")
        value = encode(change.value)
        if value is not None and len(value) > _MAX_STATE_BYTES:
            raise CommandRefused("invalid", f"the result has {len(value)} bytes; the limit is {_MAX_STATE_BYTES}")
        return value

    def _check_endpoint(self, endpoint: Endpoint, old: Endpoint | None) -> None:
        """Refuse a new URL or token URL that the egress policy forbids, or new secrets that cannot be used.

        Values that do not change are not checked: they may have been valid under other settings, and disabling an
        endpoint must always be possible.
        """
        if endpoint.url and (old is None or old.url != endpoint.url):
            problem = self._url_problem(endpoint.url)
            if problem is not None:
                raise CommandRefused("invalid", f"url: {problem}")
        token_url = _token_url(endpoint)
        if token_url is not None and (old is None or _token_url(old) != token_url):
            problem = self._url_problem(token_url)
            if problem is not None:
                raise CommandRefused("invalid", f"auth/token_url: {problem}")
        if old is None or _signing(old) != _signing(endpoint):
            problem = self._secret_problem(endpoint, self._clock.now_ms())
            if problem is not None:
                raise CommandRefused("invalid", problem)


def _signing(endpoint: Endpoint) -> tuple[object, ...]:
    return endpoint.profile, endpoint.signature, endpoint.signature_scheme, tuple(endpoint.sealed)


def _token_url(endpoint: Endpoint) -> str | None:
    return endpoint.auth.token_url if isinstance(endpoint.auth, OAuthClientCredentials) else None
