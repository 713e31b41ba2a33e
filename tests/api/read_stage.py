"""The API's handlers with everything around them in memory, for the tests of what reads the read model."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any, cast
from zlib import crc32

import msgspec

from app.adapters.secrets.keyring import AesKeyRing, AesSealer
from app.adapters.secrets.subject_vault import AesSubjectKeeper, AesSubjectVault
from app.api.grants import GrantSigner
from app.api.problems import ApiError
from app.api.request import ApiRequest, ApiServices, Caller
from app.api.server import server
from app.api.server.routes import ROUTES
from app.core.model import ids
from app.core.model.delivery import Delivery
from app.core.model.endpoint import Endpoint
from app.core.model.tenant import ApiKey
from app.core.readmodel.rows import AttemptRow, DeliveryRow, EventRow
from app.core.records import delivery as delivery_record
from app.core.records.command import Command, CommandAction, CommandReply
from app.core.records.headers import RecordHeader
from app.core.records.registry import apply, encode
from app.core.topics.names import TopicName
from app.profiles.requests import RequestBuilder
from app.roles.registry.decisions import decide
from app.runtime.topics import topics_of
from app.settings import Settings
from tests.fakes.clock import FakeClock
from tests.fakes.feed import MemoryFeed
from tests.fakes.log import MemoryLog, MemoryRecord
from tests.fakes.pulls import MemoryPulls
from tests.fakes.readmodel import MemoryReads
from tests.fakes.records import MemoryRecords
from tests.roles.replay.replay_stage import MemoryReader

TOPICS = topics_of(Settings(topic_prefix="", partitions=2, replication_factor=1))
KEYRING = AesKeyRing("k1:" + base64.b64encode(bytes(32)).decode())
ACME = Caller.of(ApiKey(id="k", tenant="acme", mode="live", digest="", last4=""))


class Stage:
    """A caller `acme`, live, with an endpoint `ep`, a log, a registry and a read model."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.clock.auto = True
        self.log = MemoryLog(self.clock, partitions=2)
        self.feed = MemoryFeed()
        self.reads = MemoryReads()
        self.records = MemoryRecords(self.log)
        self.pulls = MemoryPulls(self.log, self.clock)
        self.commands: list[CommandAction] = []
        #: of requests
        self.headers: Mapping[str, str] = {}
        self.services = ApiServices(
            feed=self.feed,
            commands=cast(Any, self),
            log=self.log,
            ends=cast(Any, self),
            past=MemoryReader(self.log, self.clock),
            counter=cast(Any, None),
            reads=self.reads,
            records=self.records,
            pulls=self.pulls,
            sender=cast(Any, None),
            keyring=KEYRING,
            minter=cast(Any, None),
            clock=self.clock,
            topics=TOPICS,
            builder=RequestBuilder(KEYRING.open, 1.0, KEYRING.signer),
            catalogue={},
            max_event_bytes=10_000,
            partition_for=lambda topic, key: crc32(key) % 2,
            schema_problem=lambda text: None,
            read_certificate=cast(Any, None),
            subjects=AesSubjectVault(lambda: self.feed.directory.erasures, KEYRING),
            tokens=GrantSigner(b"", AesSealer(b"")),
            public_url="",
            retention_days=30,
        )
        self.endpoint()

    async def ask(self, name: str, body: Any = None, *, caller: Caller = ACME, of: str = "", **query: str) -> Any:
        """What an operation answers, as its JSON."""
        route = next(each for each in ROUTES if each.name == name)
        module, _, function = name.partition(".")
        handler = getattr(server._MODULES[module], function + "_" if function == "list" else function)
        taken = None if body is None else msgspec.json.decode(json.dumps(body).encode(), type=route.takes)
        call = ApiRequest(caller=caller, path={"id": of, "name": of}, query=query, headers=self.headers, body=taken)
        answer = await handler(self.services.acting(caller.name), call)
        return json.loads(msgspec.json.encode(answer.body))

    async def refused(self, name: str, body: Any = None, **more: Any) -> tuple[int, str]:
        """Status and code of the problem that it answers."""
        try:
            given = await self.ask(name, body, **more)
        except ApiError as error:
            return error.status, error.code
        raise AssertionError(f"it was not refused: {given}")

    async def call(
        self, action: CommandAction, *, entity: str, actor: str = "", timeout_s: float = 15.0
    ) -> CommandReply:
        """`app.ports.registry.CommandSender`, on the registry's own decisions."""
        self.commands.append(action)
        command = Command(id="c", issued_at_ms=0, action=action)
        for change in decide(
            command, self.feed.directory, self.clock.now_ms(), {"standard"}, keeper=AesSubjectKeeper(KEYRING)
        ):
            apply(self.feed.directory, change.key, encode(change.value))
        return CommandReply(command_id="c", ok=True)

    async def ends(self, topic: str) -> dict[int, int]:
        """`app.ports.history.OffsetQueries`."""
        return {number: len(self.log.partitions[topic, number]) for number in range(2)}

    def endpoint(self, id_: str = "ep", **fields: Any) -> Endpoint:
        """An endpoint of acme."""
        secret = KEYRING.seal("whsec_" + base64.b64encode(bytes(24)).decode(), f"acme/{id_}", 0)
        made = Endpoint(
            id=id_,
            tenant="acme",
            mode="live",
            url=f"https://{id_}.example/",
            events=("*",),
            profile="standard",
            secrets=(secret,),
        )
        endpoint = msgspec.structs.replace(made, **fields)
        self.feed.directory.put_endpoint(endpoint)
        return endpoint

    def event(self, id_: str = "e1", *, partition: int = 0, **fields: Any) -> MemoryRecord:
        """A record of events.raw."""
        value = {"type": "a.b", "id": id_, "tenant": "acme", "data": {"n": 1}, **fields}
        return self.log.put(TopicName.EVENTS_RAW, value=json.dumps(value).encode(), partition=partition)

    def row(self, event: MemoryRecord | None = None, *, endpoint: str = "ep", **fields: Any) -> DeliveryRow:
        """A delivery of an event, dead unless the fields say otherwise."""
        event_id = json.loads(event.value or b"")["id"] if event is not None else "e1"
        accepted = event.timestamp if event is not None else self.clock.now_ms()
        made = DeliveryRow(
            id=ids.delivery_id("acme", event_id, endpoint),
            tenant="acme",
            mode="live",
            endpoint_id=endpoint,
            event_id=event_id,
            event_type="a.b",
            state="dead",
            attempts=2,
            created_at_ms=accepted,
            updated_at_ms=accepted,
            status=500,
            result="http_5xx",
            error="the endpoint answered 500",
            reason="exhausted",
            source=(event.partition, event.offset) if event is not None else None,
        )
        return self.put(msgspec.structs.replace(made, **fields))

    def put(self, row: DeliveryRow) -> DeliveryRow:
        """A delivery as it stands from now on."""
        self.reads.rows = [each for each in self.reads.rows if each.id != row.id] + [row]
        return row

    def attempt(self, row: DeliveryRow, number: int, **fields: Any) -> None:
        """An attempt of it."""
        made = AttemptRow(
            delivery_id=row.id,
            number=number,
            trigger="first" if number == 1 else "retry",
            state="retrying",
            result="http_5xx",
            started_at_ms=self.clock.now_ms(),
            duration_ms=12.5,
            connect_ms=3,
            first_byte_ms=9,
            url="https://ep.example/",
            status=500,
            error="the endpoint answered 500",
            response_headers={"server": "x"},
            response_body="oops",
        )
        self.reads.tries.setdefault(row.id, []).append(msgspec.structs.replace(made, **fields))

    def indexed(self, event: MemoryRecord, **fields: Any) -> EventRow:
        """The event's row in the index, without deliveries unless the fields say otherwise."""
        made = EventRow(
            partition=event.partition,
            offset=event.offset,
            at_ms=event.timestamp,
            tenant="acme",
            mode="live",
            event_id=json.loads(event.value or b"")["id"],
            event_type="a.b",
            result="unmatched",
        )
        row = msgspec.structs.replace(made, **fields)
        self.reads.index.append(row)
        return row

    def aside(self, row: DeliveryRow, **fields: Any) -> Delivery:
        """The row's record in deliveries.dead."""
        made = Delivery(
            id=row.id,
            endpoint_id=row.endpoint_id,
            event_id=row.event_id,
            event_type=row.event_type,
            tenant=row.tenant,
            mode=row.mode,
            created_at="2026-01-01T00:00:00Z",
            body=b'{"kept":1}',
            attempts=row.attempts,
        )
        delivery = msgspec.structs.replace(made, **fields)
        headers: list[RecordHeader] = [*delivery_record.encode(delivery), ("reason", b"exhausted")]
        key = row.endpoint_id.encode()
        self.log.put(TopicName.DELIVERIES_DEAD, key=key, value=delivery.body, headers=headers)
        return delivery

    def appended(self) -> list[Delivery]:
        """What was appended to `deliveries`."""
        return [
            delivery_record.decode(each.key, each.value, each.headers)[0] for each in self.log.of(TopicName.DELIVERIES)
        ]
