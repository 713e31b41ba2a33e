"""One record of each kind that the service writes: `python -m tests.core.records.golden_kinds` writes missing files.

A golden record is a record as this version or an earlier one wrote it, with the values that it stands for. Every later
version must decode it: topics and tables outlive the version that wrote them. A file is never changed, and removed only
when no installation can have such a record any more.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_type_hints

import msgspec

from app.core.directory import Directory
from app.core.model.delivery import Delivery, DeliveryRevision
from app.core.model.endpoint import Endpoint
from app.core.model.erasure import Erasure, SubjectKeys
from app.core.model.event import EventFormat
from app.core.model.event_types import EventType
from app.core.model.replay import Replay
from app.core.model.tenant import ApiKey, Tenant
from app.core.records import (
    attempt,
    audit,
    command,
    delivery,
    duplicate,
    headers,
    idempotency_entry,
    notice,
    ordered,
    raw_event,
    registry,
    rejected,
    signal,
)
from app.core.records.dead_letter import PARKED
from app.roles.fanout import reset_detection, sequences
from app.roles.health.transitions import HealthState
from app.roles.sequencer.key_queue import KeyQueue
from app.roles.sequencer.resume_gate import ResumeGate
from app.roles.sequencer.role.tables import StoredRecord
from tests.core.records.full_values import TEXTS, full

#: the types of the registry, and how their keys begin
REGISTERED: dict[Any, str] = {
    Endpoint: "endpoint",
    Tenant: "tenant",
    ApiKey: "key",
    EventType: "type",
    Replay: "replay",
    DeliveryRevision: "revision",
    Erasure: "erasure",
    SubjectKeys: "subject-keys",
}
FOLDER = Path(__file__).parents[2] / "golden" / "records"


class Stored(NamedTuple):
    """A record as Kafka has it."""

    key: bytes | None
    value: bytes | None
    headers: list[headers.RecordHeader] = []


class Kind(NamedTuple):
    """A kind of record: how this version writes one, and what it reads in one."""

    topic: str
    name: str
    write: Callable[[], Stored]
    read: Callable[[Stored], Any]

    @property
    def path(self) -> Path:
        """The file of its golden record."""
        return FOLDER / self.topic / f"{self.name}.json"


def _json(topic: str, name: str, key: str, value: Any, kind: Any) -> Kind:
    """A record whose value is a struct as JSON, and that has no other reader than its type."""
    return Kind(
        topic,
        name,
        lambda: Stored(key.encode(), msgspec.json.encode(value)),
        lambda stored: msgspec.json.decode(stored.value or b"", type=kind),
    )


def _table(table: str, name: str, key: bytes, value: Any, kind: Any) -> Kind:
    """An entry of a table that is stored as MessagePack."""
    return Kind(
        f"hookstream.{table}-changelog",
        name,
        lambda: Stored(key, msgspec.msgpack.encode(value)),
        lambda stored: msgspec.msgpack.decode(stored.value or b"", type=kind),
    )


def kinds() -> Iterator[Kind]:
    """All kinds, derived from the types of the code: a new member of a union or a `Literal` is a new kind."""
    yield from _events()
    yield from _deliveries()
    yield from _ordered()
    yield from _registry()
    yield from _about_deliveries()
    yield from _tables()


def _events() -> Iterator[Kind]:
    value = b'{"type":"order.paid","id":"e1","data":{"n":1},"tenant":"acme","idempotency_key":"k","ordering_key":"o"}'
    cloud = b'{"specversion":"1.0","id":"e1","source":"/shop","type":"order.paid","data":{"n":1},"tenant":"acme"}'
    binary = [(f"ce_{name}", text) for name, text in (("specversion", b"1.0"), ("id", b"e1"), ("source", b"/shop"))]
    written: dict[str, Stored] = {
        "native": Stored(b"acme", value, [("mode", b"test"), ("traceparent", TEXTS["traceparent"].encode())]),
        "ce-structured": Stored(b"acme", cloud, [("content-type", b"application/cloudevents+json")]),
        "ce-binary": Stored(b"acme", b'{"n":1}', [*binary, ("ce_type", b"order.paid"), ("tenant", b"acme")]),
    }
    for form in get_args(EventFormat):
        yield Kind("events.raw", form, lambda form=form: written[form], _read_event)  # type: ignore[misc]
    about = duplicate.DuplicateNotice
    yield Kind(
        "events.duplicates",
        "duplicate",
        lambda: Stored(b"acme", b"", duplicate.write(full(about))),
        lambda stored: duplicate.read(stored.headers),
    )
    yield Kind(
        "events.rejected",
        "rejected",
        lambda: Stored(b"acme", b"no event", rejected.write(full(rejected.RejectedNotice))),
        lambda stored: rejected.read(stored.headers),
    )


def _read_event(stored: Stored) -> Any:
    at = raw_event.Coordinates("events.raw", 3, 17, 1_767_323_045_678)
    return raw_event.decode_event(stored.value, stored.headers, at, max_bytes=10_000)


def _delivery(**changes: Any) -> Delivery:
    made: Delivery = full(Delivery)
    return msgspec.structs.replace(made, **changes)


def _stored(made: Delivery, *more: headers.RecordHeader) -> Stored:
    return Stored(made.endpoint_id.encode(), made.body, [*delivery.encode(made), *more])


def _read_delivery(stored: Stored) -> Any:
    decoded, position = delivery.decode(stored.key, stored.value, stored.headers)
    return {"delivery": decoded, "position": position}


def _deliveries() -> Iterator[Kind]:
    first = delivery.event_headers(_read_event(next(_events()).write()), 1_767_323_045_678, 7, "", 12, (3, 17))
    yield Kind(
        "deliveries",
        "first",
        lambda: Stored(b"ep_1", b"{}", delivery.with_delivery(first, "dlv_1")),
        _read_delivery,
    )
    yield Kind("deliveries", "again", lambda: _stored(_delivery()), _read_delivery)
    yield Kind("deliveries", "sealed", lambda: _stored(_delivery(body=b"\0sealed", omitted=0)), _read_delivery)
    yield Kind("deliveries.delay", "waiting", lambda: _stored(_delivery(manual=None)), _read_delivery)
    yield Kind("deliveries.pull", "available", lambda: _stored(_delivery()), _read_delivery)
    died = (("reason", b"exhausted"), ("last-result", b"http_5xx"), ("last-status", b"500"), ("died-at", b"17"))
    yield Kind("deliveries.dead", "dead", lambda: _stored(_delivery(), *died), _read_delivery)
    yield Kind("deliveries.dead", "parked", lambda: _stored(_delivery(), *PARKED), _read_delivery)


def _ordered() -> Iterator[Kind]:
    written = {
        "arrival": _stored(_delivery()),
        "arrival-resumed": _stored(_delivery(), ordered.RESUMED),
        **{f"instruction-{each}": _headers(ordered.instruction(each, "o")) for each in _members("instruction")},
        **{f"gate-{each}": _headers(ordered.step(each, "run_1")) for each in get_args(ordered.GateState)},
    }
    for outcome in get_args(ordered.SettledAs):
        settled = _headers(ordered.settlement(17, outcome, "o"))
        parked = _stored(_delivery(arrival=None), *ordered.comes_back(17))
        written[f"settlement-{outcome}"] = parked if outcome == "parked" else settled
    for name, stored in written.items():
        yield Kind(
            "deliveries.ordered",
            name,
            lambda stored=stored: stored,  # type: ignore[misc]
            lambda got: {"content": ordered.read(got.headers)},
        )


def _headers(some: list[headers.RecordHeader]) -> Stored:
    return Stored(b"ep_1", None, some)


def _members(field: str) -> tuple[Any, ...]:
    return get_args(get_type_hints(ordered.OperatorInstruction)[field])


def _registry() -> Iterator[Kind]:
    for state in get_args(registry.RegistryEntity):
        value = full(state)
        own = f"{value.tenant}/{value.mode}/{value.name}" if hasattr(value, "schema") else value.id
        prefix = REGISTERED[state]
        yield Kind(
            "registry",
            prefix,
            lambda prefix=prefix, own=own, value=value: Stored(  # type: ignore[misc]
                f"{prefix}/{own}".encode(), registry.encode(value)
            ),
            lambda stored, state=state: _applied(stored, state),  # type: ignore[misc]
        )
    for action in get_args(command.CommandAction):
        tag = action.__struct_config__.tag
        value = command.Command(id="cmd_1", issued_at_ms=1_767_323_045_678, action=full(action), actor="operator")
        yield Kind(
            "registry.commands",
            tag,
            lambda value=value: Stored(b"ep_1", registry.encode(value)),  # type: ignore[misc]
            lambda stored: registry.read_command(stored.value),
        )
    yield _json("registry.replies", "reply", "cmd_1", full(command.CommandReply), command.CommandReply)
    yield _json("audit", "entry", "acme", full(audit.AuditEntry), audit.AuditEntry)


def _applied(stored: Stored, state: Any) -> Any:
    """The state; a directory takes the record, and its tombstone."""
    directory, key = Directory(), (stored.key or b"").decode()
    registry.apply(directory, key, stored.value)
    registry.apply(directory, key, None)
    return msgspec.json.decode(stored.value or b"", type=state)


def _about_deliveries() -> Iterator[Kind]:
    for state in get_args(attempt.AttemptState):
        made = msgspec.structs.replace(full(attempt.Attempt), state=state)
        yield _json("attempts", state, "ep_1", made, attempt.Attempt)
    made = attempt.Attempt(
        **{name: getattr(full(attempt.Attempt), name) for name in ("delivery_id", "event_id", "event_type", "tenant")},
        endpoint_id="ep_1",
        mode="live",
        attempt=3,
        trigger="manual",
        state="cancelled",
        result=attempt.DISCARDED,
        reason=attempt.DISCARDED,
        started_at="2026-01-02T03:04:05.678Z",
        duration_ms=0.0,
        error="discarded by key_1: test data",
        revision=1_767_323_045_678,
    )
    yield _json("attempts", "discarded", "ep_1", made, attempt.Attempt)
    for kind in get_args(notice.NoticeKind):
        made = msgspec.structs.replace(full(notice.Notice), kind=kind)
        yield Kind(
            "notices",
            kind,
            lambda made=made: Stored(b"acme", msgspec.json.encode(made)),  # type: ignore[misc]
            lambda stored: notice.read(stored.value),
        )
    for outcome in get_args(get_type_hints(signal.HealthSignal)["outcome"]):
        made = msgspec.structs.replace(full(signal.HealthSignal), outcome=outcome)
        yield Kind(
            "endpoints.signals",
            outcome,
            lambda made=made: Stored(b"ep_1", msgspec.json.encode(made)),  # type: ignore[misc]
            lambda stored: signal.read(stored.value),
        )


def _tables() -> Iterator[Kind]:
    fanout = "hookstream.fanout"
    entries = (idempotency_entry.AcceptedRecord(3, 17, 1_767_323_045_678, 7), full(idempotency_entry.AcceptedRecord))
    yield Kind(
        f"{fanout}-idempotency-changelog",
        "accepted",
        lambda: Stored(b"\0" * 16, idempotency_entry.encode(entries)),
        lambda stored: {"accepted": idempotency_entry.decode(stored.value or b"")},
    )
    yield Kind(
        f"{fanout}-ordering-changelog",
        "count",
        lambda: Stored(b"\0" * 16, (7).to_bytes(8, "big")),
        lambda stored: {"count": sequences.read_count(stored.value or b"")},
    )
    for name, mark in (("complete", sequences.COMPLETE), ("late", sequences.LATE)):
        yield Kind(
            f"{fanout}-ordering-changelog",
            name,
            lambda mark=mark: Stored(sequences.coverage_key(3), mark),  # type: ignore[misc]
            lambda stored: {"key": sequences.coverage_key(3) == stored.key, "late": stored.value == sequences.LATE},
        )
    yield Kind(
        f"{fanout}-positions-changelog",
        "position",
        lambda: Stored(reset_detection.position_key(3), reset_detection.write(full(reset_detection.ReadPosition))),
        lambda stored: reset_detection.read(stored.value),
    )
    yield Kind(
        f"{fanout}-positions-changelog",
        "checkpoint",
        lambda: Stored(
            reset_detection.checkpoint_key(3), reset_detection.write_checkpoint(full(reset_detection.Checkpoint))
        ),
        lambda stored: reset_detection.read_checkpoint(stored.value),
    )
    yield from _states()
    yield _table("sequencer-queues", "queue", b"ep_1\no", full(KeyQueue), KeyQueue)
    for state in get_args(ordered.GateState):
        gate = ResumeGate(17, state, "run_1")
        yield _table("sequencer-queues", f"gate-{state}", b"\0gate/3/ep_1", gate, ResumeGate)
    waiting = _stored(_delivery())
    yield _table("sequencer-waiting", "record", b"ep_1\no\n" + bytes(8), tuple(waiting), StoredRecord)


def _states() -> Iterator[Kind]:
    """The table of health: one state for each stage, and one for each action that a state remembers."""
    hints = get_type_hints(HealthState)
    for stage in get_args(hints["stage"]):
        state = msgspec.structs.replace(full(HealthState), stage=stage)
        yield _table("health-state", f"stage-{stage}", b"ep_1", state, HealthState)
    (emitted, _) = get_args(hints["emitted"])
    (actions, _) = get_args(get_type_hints(emitted)["actions"])
    for action in get_args(actions):
        state = msgspec.structs.replace(full(HealthState), emitted=(emitted(17, 7, (full(action),)),))
        yield _table("health-state", f"action-{action.__struct_config__.tag}", b"ep_1", state, HealthState)


def as_text(data: bytes | None) -> Any:
    """Bytes for a JSON file: text where they are text."""
    if data is None:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def as_bytes(text: Any) -> bytes | None:
    """What `as_text` was given."""
    match text:
        case str():
            return text.encode()
        case {"base64": str() as data}:
            return base64.b64decode(data)
        case _:
            return None


def plain(value: Any) -> Any:
    """A decoded value as JSON has it."""
    return msgspec.json.decode(msgspec.json.encode(value, enc_hook=lambda each: str(each)))


def document(kind: Kind) -> dict[str, Any]:
    """The golden record of a kind, as this version writes and reads it."""
    stored = kind.write()
    return {
        "key": as_text(stored.key),
        "value": as_text(stored.value),
        "headers": [[name, as_text(text)] for name, text in stored.headers],
        "decoded": plain(kind.read(stored)),
    }


def write_missing() -> None:
    """Write the files of kinds that have none."""
    for kind in kinds():
        if not kind.path.exists():
            kind.path.parent.mkdir(parents=True, exist_ok=True)
            kind.path.write_text(json.dumps(document(kind), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_missing()
