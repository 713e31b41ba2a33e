"""What may be asked of the registry: the values of registry.commands and registry.replies."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from app.core.model.delivery import DeliveryRevision
from app.core.model.endpoint import Endpoint, OpenCircuit, SealedSecret
from app.core.model.event import Mode
from app.core.model.event_types import EventType
from app.core.model.replay import Replay
from app.core.model.tenant import ApiKey, Tenant


class CreateEndpoint(msgspec.Struct, frozen=True, tag="endpoint.create"):
    """Register an endpoint under the id it carries."""

    endpoint: Endpoint


class UpdateEndpoint(msgspec.Struct, frozen=True, tag="endpoint.update"):
    """Change the named fields of an endpoint."""

    id: str
    changes: dict[str, Any]
    expected_version: int | None = None


class RemoveEndpoint(msgspec.Struct, frozen=True, tag="endpoint.remove"):
    """Remove an endpoint; its deliveries under way are cancelled."""

    id: str
    expected_version: int | None = None


class PutTenant(msgspec.Struct, frozen=True, tag="tenant.put"):
    """Register a tenant, or replace what is known of it."""

    tenant: Tenant
    expected_version: int | None = None


class UnsubscribeAddress(msgspec.Struct, frozen=True, tag="tenant.unsubscribe"):
    """Write to an address no more; not there: nothing changes."""

    tenant: str
    address: str


class SuspendEndpoint(msgspec.Struct, frozen=True, tag="endpoint.suspend"):
    """Pause or disable an endpoint from here on; already so: nothing changes."""

    id: str
    status: Literal["paused", "disabled"]
    #: ends of events.raw, and of the endpoint's partition of deliveries.dead, before the command
    begin: dict[int, int]
    dead_begin: int
    reason: str | None = None
    expected_version: int | None = None
    #: for this epoch of the endpoint only; in another one nothing changes
    epoch: int | None = None


class MarkFailing(msgspec.Struct, frozen=True, tag="endpoint.failing"):
    """Show since when an endpoint fails, and when that ends it (None: it does not, any more); only for its epoch."""

    id: str
    epoch: int
    failing_since_ms: int | None = None
    disable_at_ms: int | None = None


class MarkCircuit(msgspec.Struct, frozen=True, tag="endpoint.circuit"):
    """Show the circuit of an endpoint (None: it is closed); only for its epoch. This is no change of its settings, so
    its version stays.
    """

    id: str
    epoch: int
    circuit: OpenCircuit | None = None


class ReactivateEndpoint(msgspec.Struct, frozen=True, tag="endpoint.reactivate"):
    """Make an endpoint active again; already so: nothing changes.

    After a pause what it missed is replayed. After a disablement nothing is, until `RecoverEndpoint` asks for it.
    """

    id: str
    #: ends of events.raw before the command
    end: dict[int, int]
    #: the id of the replay that a pause needs
    replay_id: str
    expected_version: int | None = None


class CloseSuspension(msgspec.Struct, frozen=True, tag="endpoint.close-suspension"):
    """The last disablement ended later than `ReactivateEndpoint` could know: at these ends of events.raw."""

    id: str
    end: dict[int, int]


class RecoverEndpoint(msgspec.Struct, frozen=True, tag="endpoint.recover"):
    """Replay what an active endpoint missed while it was disabled, last time."""

    id: str
    replay_id: str


class RotateSecret(msgspec.Struct, frozen=True, tag="endpoint.rotate"):
    """Sign with a new secret; the earlier ones sign along until `overlap_until_ms`. None: sign no more."""

    id: str
    secret: SealedSecret | None
    overlap_until_ms: int
    #: the caller's key and its Idempotency-Key; a rotation that carries the last one's changes nothing
    key: str | None = None
    expected_version: int | None = None


class CreateKey(msgspec.Struct, frozen=True, tag="key.create"):
    """Register a key of the management API."""

    key: ApiKey


class RevokeKey(msgspec.Struct, frozen=True, tag="key.revoke"):
    """Remove a key: it opens nothing from now on."""

    id: str


class PutEventType(msgspec.Struct, frozen=True, tag="type.put"):
    """Register an event type of a tenant, or replace what is known of it."""

    event_type: EventType


class RemoveEventType(msgspec.Struct, frozen=True, tag="type.remove"):
    """Remove an event type of a tenant."""

    tenant: str
    mode: Mode
    name: str


class CreateReplay(msgspec.Struct, frozen=True, tag="replay.create"):
    """Begin a replay of a span of time; the same id again changes nothing."""

    replay: Replay


class AdvanceReplay(msgspec.Struct, frozen=True, tag="replay.advance"):
    """The replay role tells how far it is. A replay that has ended stays as it is."""

    id: str
    done: dict[int, int]
    sent: int
    state: Literal["running", "done"]
    parked: int = 0
    skipped: int = 0


class PauseReplay(msgspec.Struct, frozen=True, tag="replay.pause"):
    """Append nothing more of a replay until it is resumed."""

    id: str


class ResumeReplay(msgspec.Struct, frozen=True, tag="replay.resume"):
    """Go on with a replay that was paused."""

    id: str


class CancelReplay(msgspec.Struct, frozen=True, tag="replay.cancel"):
    """Append nothing more of a replay."""

    id: str


class SupersedeDeliveries(msgspec.Struct, frozen=True, tag="deliveries.supersede"):
    """Pass over the copies of these deliveries that wait somewhere from earlier revisions."""

    revisions: list[DeliveryRevision]


CommandAction = (
    CreateEndpoint
    | UpdateEndpoint
    | RemoveEndpoint
    | SuspendEndpoint
    | MarkFailing
    | MarkCircuit
    | ReactivateEndpoint
    | CloseSuspension
    | RecoverEndpoint
    | RotateSecret
    | PutTenant
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
)


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """The value of a record of registry.commands."""

    #: names the command; its reply carries it
    id: str
    issued_at_ms: int
    action: CommandAction
    #: who asks for it, for the audit log; empty: a role of ours
    actor: str = ""


class CommandReply(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The value of a record of registry.replies; the key is the command's id."""

    command_id: str
    ok: bool
    #: version of the entity after the command; 0: removed
    version: int = 0
    #: why it was refused: not_found | conflict | exists | invalid | unreadable
    code: str | None = None
    detail: str | None = None
