"""The records of `registry.commands` and `registry.replies`: commands to the registry, and their results.

The key of a command is free; the key of a reply is the command's id. Values are JSON
(schemas/records/registry.commands.v1.json, registry.replies.v1.json). A command with `expected_version` is refused when
the entity has another version.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from app.core.model.delivery import DeliveryRevision
from app.core.model.endpoint import Endpoint, OpenCircuit, SealedSecret, SigningKey
from app.core.model.event import Mode
from app.core.model.event_types import EventType
from app.core.model.replay import Replay
from app.core.model.tenant import ApiKey, Tenant


class CreateEndpoint(msgspec.Struct, frozen=True, tag="endpoint.create"):
    """Create an endpoint under the id that it has."""

    endpoint: Endpoint
    #: as in `UpdateEndpoint`
    begin: dict[int, int] = {}
    dead_begin: int = 0


class UpdateEndpoint(msgspec.Struct, frozen=True, tag="endpoint.update"):
    """Change the named fields of an endpoint."""

    id: str
    changes: dict[str, Any]
    expected_version: int | None = None
    #: as in `SuspendEndpoint`, for a change that makes it unverified; absent: all records, which a resume then reads
    begin: dict[int, int] = {}
    dead_begin: int = 0


class RemoveEndpoint(msgspec.Struct, frozen=True, tag="endpoint.remove"):
    """Remove an endpoint; its open deliveries are cancelled."""

    id: str
    expected_version: int | None = None


class PutTenant(msgspec.Struct, frozen=True, tag="tenant.put"):
    """Create or replace a tenant."""

    tenant: Tenant
    expected_version: int | None = None


class DeleteTenant(msgspec.Struct, frozen=True, tag="tenant.delete"):
    """Delete a tenant with its endpoints, keys, event types and replays. Its record stays, marked as deleted.

    No change if it is deleted.
    """

    id: str
    expected_version: int | None = None


class UnsubscribeAddress(msgspec.Struct, frozen=True, tag="tenant.unsubscribe"):
    """Remove an address from a tenant's notification e-mails. No change if it is not among them."""

    tenant: str
    address: str


class SuspendEndpoint(msgspec.Struct, frozen=True, tag="endpoint.suspend"):
    """Pause or disable an endpoint. No change if it has that status already."""

    id: str
    status: Literal["paused", "disabled"]
    #: the end offsets of events.raw by partition, read before the command was sent
    begin: dict[int, int]
    #: the end offset of the endpoint's partition of deliveries.dead, read before the command was sent
    dead_begin: int
    #: why, in words, for the owner
    reason: str | None = None
    expected_version: int | None = None
    #: only if the endpoint is still in this epoch; null: in any
    epoch: int | None = None


class MarkFailing(msgspec.Struct, frozen=True, tag="endpoint.failing"):
    """Set since when an endpoint fails, and from when on one more failure disables it; null: it does not fail.

    No change if the endpoint has left the epoch.
    """

    id: str
    epoch: int
    failing_since_ms: int | None = None
    disable_at_ms: int | None = None


class MarkCircuit(msgspec.Struct, frozen=True, tag="endpoint.circuit"):
    """Set the circuit of an endpoint; null: it is closed.

    The endpoint's version stays the same, because its settings do not change. No change if it has left the epoch.
    """

    id: str
    epoch: int
    circuit: OpenCircuit | None = None


class ReactivateEndpoint(msgspec.Struct, frozen=True, tag="endpoint.reactivate"):
    """Make an endpoint active again. No change if it is active.

    After a pause, its parked deliveries are replayed. After a disablement nothing is, until `RecoverEndpoint`.
    """

    id: str
    #: the end offsets of events.raw by partition, read before the command was sent
    end: dict[int, int]
    #: the id for the replay of parked deliveries
    replay_id: str
    expected_version: int | None = None


class RecordHandshake(msgspec.Struct, frozen=True, kw_only=True, tag="endpoint.handshake"):
    """Record the outcome of a handshake with an unverified endpoint; its receiver's agreement resumes it.

    No change if the endpoint is no longer unverified since that version.
    """

    id: str
    #: `Unverified.version` of the endpoint with which the handshake was made
    version: int
    agreed: bool
    #: the outcome in a word, and in a sentence
    result: str
    error: str | None = None
    #: requests per second that the receiver permits; null: no limit, or it names none
    rate_limit: float | None = None
    #: the origin that it was asked for; null: none
    origin: str | None = None
    #: as in `ReactivateEndpoint`
    end: dict[int, int] = {}
    replay_id: str = ""


class CloseSuspension(msgspec.Struct, frozen=True, tag="endpoint.close-suspension"):
    """Extend the last disablement to these end offsets of events.raw.

    Fan-out may have treated the endpoint as disabled for longer than `ReactivateEndpoint` could know.
    """

    id: str
    end: dict[int, int]


class RecoverEndpoint(msgspec.Struct, frozen=True, tag="endpoint.recover"):
    """Replay to an active endpoint what it missed during its last disablement."""

    id: str
    replay_id: str


class RotateSecret(msgspec.Struct, frozen=True, tag="endpoint.rotate"):
    """Sign with a new secret, and until `overlap_until_ms` with the earlier ones, too. A null secret ends signing."""

    id: str
    secret: SealedSecret | None
    overlap_until_ms: int
    #: the API key and Idempotency-Key of the request; a repetition of the last rotation makes no change
    key: str | None = None
    expected_version: int | None = None


class RotateSigningKey(msgspec.Struct, frozen=True, tag="endpoint.rotate-key"):
    """Sign v1a with a new key, and until `overlap_until_ms` with the earlier ones, too."""

    id: str
    signing_key: SigningKey
    overlap_until_ms: int
    #: the API key and Idempotency-Key of the request; a repetition of the last rotation makes no change
    key: str | None = None
    expected_version: int | None = None


class CreateKey(msgspec.Struct, frozen=True, tag="key.create"):
    """Create a key of the management API."""

    key: ApiKey


class RevokeKey(msgspec.Struct, frozen=True, tag="key.revoke"):
    """Remove a key of the management API."""

    id: str


class PutEventType(msgspec.Struct, frozen=True, tag="type.put"):
    """Create or replace an event type of a tenant, or of the installation's catalogue."""

    event_type: EventType


class RemoveEventType(msgspec.Struct, frozen=True, tag="type.remove"):
    """Remove an event type. Tenant and mode are empty for one of the installation's catalogue."""

    tenant: str
    mode: Mode | Literal[""]
    name: str


class CreateReplay(msgspec.Struct, frozen=True, tag="replay.create"):
    """Create a replay of a time range. No change if its id exists."""

    replay: Replay


class AdvanceReplay(msgspec.Struct, frozen=True, tag="replay.advance"):
    """Record the progress of a replay. No change if it has ended."""

    id: str
    #: partition → the offset up to which the replay is done
    done: dict[int, int]
    #: deliveries appended so far
    sent: int
    state: Literal["running", "done"]
    #: deliveries parked so far, because their endpoint is paused
    parked: int = 0
    #: deliveries left out so far, because their endpoint is disabled or removed
    skipped: int = 0


class PauseReplay(msgspec.Struct, frozen=True, tag="replay.pause"):
    """Pause a replay: it appends nothing until it is resumed."""

    id: str


class ResumeReplay(msgspec.Struct, frozen=True, tag="replay.resume"):
    """Resume a paused replay."""

    id: str


class CancelReplay(msgspec.Struct, frozen=True, tag="replay.cancel"):
    """Cancel a replay: it appends nothing more."""

    id: str


class SupersedeDeliveries(msgspec.Struct, frozen=True, tag="deliveries.supersede"):
    """Store the revisions of deliveries, by which their waiting copies are superseded."""

    revisions: list[DeliveryRevision]


class EraseSubject(msgspec.Struct, frozen=True, tag="subject.erase"):
    """Destroy the key of a subject, which the command does not name; events appended until now are erased."""

    #: of the subject's erasures
    id: str
    tenant: str
    mode: Mode


class ResealSubjectKeys(msgspec.Struct, frozen=True, tag="subject-keys.reseal"):
    """Seal some parts of the tree of subjects' keys with the first key of the ring. No change if all are."""

    #: the id of that key
    first: str


CommandAction = (
    CreateEndpoint
    | UpdateEndpoint
    | RemoveEndpoint
    | SuspendEndpoint
    | MarkFailing
    | MarkCircuit
    | ReactivateEndpoint
    | RecordHandshake
    | CloseSuspension
    | RecoverEndpoint
    | RotateSecret
    | RotateSigningKey
    | PutTenant
    | DeleteTenant
    | UnsubscribeAddress
    | CreateKey
    | RevokeKey
    | PutEventType
    | RemoveEventType
    | CreateReplay
    | AdvanceReplay
    | PauseReplay
    | ResumeReplay
    | CancelReplay
    | SupersedeDeliveries
    | EraseSubject
    | ResealSubjectKeys
)


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """The value of a record of registry.commands."""

    #: identifies the command; its reply has the same one
    id: str
    #: milliseconds since the epoch
    issued_at_ms: int
    action: CommandAction
    #: who gives the command, for the audit log; empty: a role
    actor: str = ""


class CommandReply(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The value of a record of registry.replies."""

    command_id: str
    ok: bool
    #: the entity's version after the command; 0: it was removed
    version: int = 0
    #: why the command was refused: not_found | conflict | exists | uid_taken | tenant_deleted | default_tenant |
    #: limit_reached | invalid | unreadable | defect
    code: str | None = None
    detail: str | None = None
