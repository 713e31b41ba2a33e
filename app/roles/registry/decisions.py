"""The effect of a command on the registry: the changes to write, or a refusal.

The registry's records are `endpoint/<id>`, `tenant/<id>`, `key/<id>`, `type/<tenant>/<mode>/<name>`, `replay/<id>`,
`revision/<delivery id>`, `erasure/<id>` and `subject-keys/<part of the tree>`. Each has the full state of its entity.

A command may name the version of the entity that it expects. It is refused if the entity has another one, so no update
is lost.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, assert_never

import msgspec

from app.core import supersession
from app.core.directory import Directory
from app.core.errors import CommandRefused
from app.core.limits import DEFAULT_LIMITS, DESCRIPTION, SECRETS, TenantLimits, check_room
from app.core.model.clipping import clip
from app.core.model.endpoint import Endpoint, S, Suspension, last_disablement
from app.core.model.endpoint_settings import NAMES
from app.core.model.event_types import EventType
from app.core.model.replay import Replay
from app.core.records.command import (
    AdvanceReplay,
    CancelReplay,
    CloseSuspension,
    Command,
    CreateEndpoint,
    CreateKey,
    CreateReplay,
    DeleteTenant,
    EraseSubject,
    MarkCircuit,
    MarkFailing,
    PauseReplay,
    PutEventType,
    PutTenant,
    ReactivateEndpoint,
    RecordHandshake,
    RecoverEndpoint,
    RemoveEndpoint,
    RemoveEventType,
    ResealSubjectKeys,
    ResumeReplay,
    RevokeKey,
    RotateSecret,
    RotateSigningKey,
    SupersedeDeliveries,
    SuspendEndpoint,
    UnsubscribeAddress,
    UpdateEndpoint,
)
from app.core.subjects import SubjectKeeper
from app.roles.registry import erasures, replays, tenants
from app.roles.registry.changes import RegistryChange
from app.roles.registry.replays import ReplayAction
from app.roles.registry.rules import (
    endpoint_problems,
    event_type_problems,
    key_problems,
    settings_problems,
    signing_key_problems,
)
from app.roles.registry.suspensions import bounded
from app.roles.registry.verification import (
    agreed_fields,
    failed,
    refuse_unverified,
    require_agreement,
    stay_paused,
)

#: the fields of an endpoint that `UpdateEndpoint` may change; others have commands of their own, or none. The profile
#: is not among them, because the secret belongs to it: create another endpoint instead.
CHANGEABLE = frozenset(NAMES) | {
    "status",
    "status_reason",
    "secrets",
    "signing_keys",
    "sealed_headers",
    "sealed_auth",
    "auth_expires_at_ms",
}


def decide(
    command: Command,
    directory: Directory,
    now_ms: int,
    profiles: Collection[str],
    most: TenantLimits = DEFAULT_LIMITS,
    keeper: SubjectKeeper | None = None,
) -> list[RegistryChange]:
    """The changes that a command causes, which the caller applies to `directory`. Raises `CommandRefused`.

    `profiles` are the names of all profiles; `most` are the limits of one tenant; `keeper` changes
    the tree of subjects' keys.
    """
    action = command.action
    if isinstance(action, EraseSubject | ResealSubjectKeys):
        return erasures.decide(action, directory, now_ms, keeper)
    match action:
        case CreateEndpoint():
            return [_create(action, directory, now_ms, profiles, most)]
        case UpdateEndpoint():
            return [
                _update(_current(directory, action.id, action.expected_version), action, now_ms, profiles, directory)
            ]
        case RemoveEndpoint(id=id_, expected_version=expected):
            _current(directory, id_, expected)
            orphans = [each.id for each in directory.replays.values() if each.endpoint_id == id_]
            return [RegistryChange(f"endpoint/{id_}", None, 0), *_replay_changes(orphans)]
        case PutTenant():
            return [tenants.put(action, directory, now_ms, profiles)]
        case DeleteTenant():
            return tenants.delete(action, directory, now_ms)
        case UnsubscribeAddress(tenant=tenant, address=address):
            return tenants.unsubscribe(tenant, address, directory, now_ms)
        case SuspendEndpoint():
            return _suspend(action, directory, now_ms)
        case MarkFailing() | MarkCircuit():
            return _mark(action, directory, now_ms)
        case ReactivateEndpoint():
            return _reactivate(action, directory, now_ms)
        case RecordHandshake():
            return _handshake(action, directory, now_ms)
        case CloseSuspension():
            return _close_suspension(action, directory, now_ms)
        case RecoverEndpoint():
            return _recover(action, directory, now_ms)
        case RotateSecret():
            return _rotate(action, directory, now_ms)
        case RotateSigningKey():
            return _rotate_key(action, directory, now_ms)
        case _:
            return _decide_others(action, directory, now_ms, most)


_OtherAction = CreateKey | RevokeKey | PutEventType | RemoveEventType | ReplayAction | SupersedeDeliveries


def _decide_others(action: _OtherAction, directory: Directory, now_ms: int, most: TenantLimits) -> list[RegistryChange]:
    match action:
        case CreateKey(key=key):
            if key.id in directory.keys:
                raise CommandRefused("exists", f"key {key.id} already exists")
            problems = key_problems(key)
            if problems:
                raise CommandRefused("invalid", "; ".join(problems))
            tenants.check_not_deleted(directory, key.tenant)
            check_room(directory.holdings(key.tenant), most, "keys")
            return [RegistryChange(f"key/{key.id}", msgspec.structs.replace(key, created_at_ms=now_ms), 1)]
        case RevokeKey(id=id_):
            if id_ not in directory.keys:
                raise CommandRefused("not_found", f"there is no key {id_}")
            return [RegistryChange(f"key/{id_}", None, 0)]
        case PutEventType(event_type=event_type):
            tenants.check_not_deleted(directory, event_type.tenant)
            if (event_type.tenant, event_type.mode, event_type.name) not in directory.event_types:
                check_room(directory.holdings(event_type.tenant), most, "event_types")
            return [_put_event_type(event_type, directory, now_ms)]
        case RemoveEventType(tenant=tenant, mode=mode, name=name):
            if (tenant, mode, name) not in directory.event_types:
                raise CommandRefused("not_found", f"there is no event type {name}")
            return [RegistryChange(f"type/{tenant}/{mode}/{name}", None, 0)]
        case CreateReplay() | AdvanceReplay() | PauseReplay() | ResumeReplay() | CancelReplay():
            if isinstance(action, CreateReplay):
                tenants.check_not_deleted(directory, action.replay.tenant)
            return _replay_changes(replays.decide(action, directory, now_ms))
        case SupersedeDeliveries(revisions=revisions):
            fresh, expired = supersession.take(revisions, directory.revisions, now_ms)
            return [RegistryChange(f"revision/{each.id}", each, 1) for each in fresh] + [
                RegistryChange(f"revision/{each}", None, 0) for each in expired
            ]
        case _:
            assert_never(action)


def _current(directory: Directory, endpoint_id: str, expected: int | None) -> Endpoint:
    endpoint = directory.endpoint(endpoint_id)
    if endpoint is None:
        raise CommandRefused("not_found", f"there is no endpoint {endpoint_id}")
    if expected is not None and expected != endpoint.version:
        raise CommandRefused("conflict", f"endpoint {endpoint_id} has version {endpoint.version}, not {expected}")
    return endpoint


def _create(
    action: CreateEndpoint, directory: Directory, now_ms: int, profiles: Collection[str], most: TenantLimits
) -> RegistryChange:
    endpoint = action.endpoint
    if directory.endpoint(endpoint.id) is not None:
        raise CommandRefused("exists", f"endpoint {endpoint.id} already exists")
    tenants.check_not_deleted(directory, endpoint.tenant)
    check_room(directory.holdings(endpoint.tenant), most, "endpoints")
    fresh = msgspec.structs.replace(endpoint, version=1, epoch=1, created_at_ms=now_ms, updated_at_ms=now_ms)
    held = require_agreement(fresh, None, action.begin, action.dead_begin, now_ms)
    return _endpoint_change(held, profiles, directory)


def _update(
    old: Endpoint, action: UpdateEndpoint, now_ms: int, profiles: Collection[str], directory: Directory
) -> RegistryChange:
    changes = action.changes
    fixed = sorted(set(changes) - CHANGEABLE)
    if fixed:
        raise CommandRefused("invalid", f"cannot be changed: {', '.join(fixed)}")
    merged = msgspec.to_builtins(old, str_keys=True) | dict(changes)
    merged |= {"version": old.version + 1, "updated_at_ms": now_ms}
    try:
        fresh = msgspec.convert(merged, Endpoint, str_keys=True)
    except msgspec.ValidationError as error:  # it names one misfit
        raise CommandRefused("invalid", "; ".join(settings_problems(merged, Endpoint))) from error
    if fresh.kind != old.kind:
        raise CommandRefused("invalid", "kind: cannot be changed; create another endpoint")
    if fresh.url != old.url or (old.status == "disabled" and fresh.status != "disabled"):
        fresh = msgspec.structs.replace(fresh, **_new_epoch(old))
    held = require_agreement(fresh, old, action.begin, action.dead_begin, now_ms)
    return _endpoint_change(held, profiles, directory)


def _endpoint_change(endpoint: Endpoint, profiles: Collection[str], directory: Directory) -> RegistryChange:
    problems = endpoint_problems(endpoint, profiles)
    if problems:
        raise CommandRefused("invalid", "; ".join(problems))
    if endpoint.uid is not None:
        other = directory.endpoint_named(endpoint.tenant, endpoint.mode, endpoint.uid)
        if other is not None and other.id != endpoint.id:
            raise CommandRefused("uid_taken", f"uid: {endpoint.uid} is that of endpoint {other.id}: choose another one")
    return RegistryChange(f"endpoint/{endpoint.id}", endpoint, endpoint.version)


def _changed(old: Endpoint, now_ms: int, **fields: Any) -> RegistryChange:
    fresh = msgspec.structs.replace(old, **fields, version=old.version + 1, updated_at_ms=now_ms)
    return RegistryChange(f"endpoint/{old.id}", fresh, fresh.version)


def _new_epoch(old: Endpoint) -> dict[str, Any]:
    """The changed fields of an endpoint whose health starts afresh with the next version."""
    return {"epoch": old.version + 1, "failing_since_ms": None, "disable_at_ms": None, "circuit": None}


def _mark(action: MarkFailing | MarkCircuit, directory: Directory, now_ms: int) -> list[RegistryChange]:
    old = _current(directory, action.id, None)
    if isinstance(action, MarkCircuit):
        if old.epoch != action.epoch or old.circuit == action.circuit:
            return []
        return [RegistryChange(f"endpoint/{old.id}", msgspec.structs.replace(old, circuit=action.circuit), old.version)]
    marks = {"failing_since_ms": action.failing_since_ms, "disable_at_ms": action.disable_at_ms}
    if old.epoch != action.epoch or all(getattr(old, name) == value for name, value in marks.items()):
        return []
    return [_changed(old, now_ms, **marks)]


def _suspend(action: SuspendEndpoint, directory: Directory, now_ms: int) -> list[RegistryChange]:
    old = _current(directory, action.id, action.expected_version)
    if action.epoch not in (None, old.epoch):
        return []
    if old.status == action.status:
        paused = stay_paused(old) if action.status == "paused" else None
        return [] if paused is None else [RegistryChange(f"endpoint/{old.id}", paused, old.version)]
    if old.status == "disabled":  # nothing is parked for a disabled endpoint, so there would be nothing to resume
        raise CommandRefused("invalid", f"endpoint {action.id} is disabled: enable it before you pause it")
    suspensions = old.suspensions
    if suspensions and suspensions[-1].end is None:  # paused, now disabled: one suspension
        suspensions = (*suspensions[:-1], msgspec.structs.replace(suspensions[-1], kind=action.status))
    else:
        suspension = Suspension(kind=action.status, since_ms=now_ms, begin=action.begin, dead_begin=action.dead_begin)
        suspensions = bounded((*suspensions, suspension))
    dated = {} if action.status == "paused" else {"disable_at_ms": None}
    reason = None if action.reason is None else clip(action.reason, DESCRIPTION)
    return [_changed(old, now_ms, status=action.status, status_reason=reason, suspensions=suspensions, **dated)]


def _reactivate(action: ReactivateEndpoint, directory: Directory, now_ms: int) -> list[RegistryChange]:
    old = _current(directory, action.id, action.expected_version)
    if old.status == "active":
        return []
    refuse_unverified(old)
    return _activated(old, action, directory, now_ms, _new_epoch(old) if old.status == "disabled" else {})


def _activated(
    old: Endpoint,
    action: ReactivateEndpoint | RecordHandshake,
    directory: Directory,
    now_ms: int,
    fields: Mapping[str, Any],
) -> list[RegistryChange]:
    """The end of the suspension, the other changed fields, and the replay of what a pause has parked."""
    suspensions, added = old.suspensions, list[RegistryChange]()
    if suspensions and suspensions[-1].end is None:
        suspension = msgspec.structs.replace(suspensions[-1], end=action.end)
        suspensions = (*suspensions[:-1], suspension)
        if suspension.kind == "paused":
            replay = replays.of_suspension(old, suspension, action.replay_id, "resume", directory, now_ms)
            added = _replay_changes(replay)
    return [_changed(old, now_ms, status="active", status_reason=None, suspensions=suspensions, **fields), *added]


def _handshake(action: RecordHandshake, directory: Directory, now_ms: int) -> list[RegistryChange]:
    old = _current(directory, action.id, None)
    mark = old.unverified
    if mark is None or mark.version != action.version:
        return []
    if not action.agreed:
        return [RegistryChange(f"endpoint/{old.id}", failed(old, mark, action, now_ms), old.version)]
    fields = agreed_fields(old, action)
    if old.status == "paused" and mark.resumes:
        return _activated(old, action, directory, now_ms, fields)
    return [_changed(old, now_ms, **fields)]


def _close_suspension(action: CloseSuspension, directory: Directory, now_ms: int) -> list[RegistryChange]:
    old = _current(directory, action.id, None)
    suspension = old.suspensions[-1] if old.suspensions else None
    if suspension is None or suspension.kind != "disabled" or suspension.end is None:
        return []
    end = {number: max(at, suspension.end.get(number, 0)) for number, at in action.end.items()}
    return [_changed(old, now_ms, suspensions=(*old.suspensions[:-1], msgspec.structs.replace(suspension, end=end)))]


def _recover(action: RecoverEndpoint, directory: Directory, now_ms: int) -> list[RegistryChange]:
    endpoint = _current(directory, action.id, None)
    missed = last_disablement(endpoint)
    if endpoint.status != "active":
        raise CommandRefused("invalid", f"endpoint {action.id} is {endpoint.status}: enable it first")
    if missed is None:
        raise CommandRefused("invalid", f"endpoint {action.id} has not missed anything: it was not disabled")
    if action.replay_id in directory.replays:
        return []
    return _replay_changes(replays.of_suspension(endpoint, missed, action.replay_id, "recover", directory, now_ms))


def _replay_changes(changed: Sequence[Replay | str]) -> list[RegistryChange]:
    return [
        RegistryChange(f"replay/{each}", None, 0)
        if isinstance(each, str)
        else RegistryChange(f"replay/{each.id}", each, each.version)
        for each in changed
    ]


def _rotate(action: RotateSecret, directory: Directory, now_ms: int) -> list[RegistryChange]:
    old = _current(directory, action.id, None)
    if action.key is not None and action.key == old.rotated_by:
        return []
    _current(directory, action.id, action.expected_version)
    earlier = _overlapping(old.secrets, action.overlap_until_ms, now_ms)
    secrets = () if action.secret is None else (action.secret, *earlier)[:SECRETS]
    return [_changed(old, now_ms, secrets=secrets, rotated_by=action.key)]


def _rotate_key(action: RotateSigningKey, directory: Directory, now_ms: int) -> list[RegistryChange]:
    old = _current(directory, action.id, None)
    if action.key is not None and action.key == old.key_rotated_by:
        return []
    _current(directory, action.id, action.expected_version)
    earlier = _overlapping(old.signing_keys, action.overlap_until_ms, now_ms)
    signing_keys = (action.signing_key, *earlier)[:SECRETS]
    problems = list(signing_key_problems(signing_keys))
    if problems:
        raise CommandRefused("invalid", "; ".join(problems))
    return [_changed(old, now_ms, signing_keys=signing_keys, key_rotated_by=action.key)]


def _overlapping(former: tuple[S, ...], until_ms: int, now_ms: int) -> list[S]:
    """The former secrets that sign along with a new one, each until `until_ms` at the latest."""
    return [
        msgspec.structs.replace(each, expires_at_ms=min(each.expires_at_ms or until_ms, until_ms))
        for each in former
        if (each.expires_at_ms or until_ms) > now_ms and until_ms > now_ms
    ]


def _put_event_type(event_type: EventType, directory: Directory, now_ms: int) -> RegistryChange:
    problems = event_type_problems(event_type)
    if problems:
        raise CommandRefused("invalid", "; ".join(problems))
    old = directory.event_types.get((event_type.tenant, event_type.mode, event_type.name))
    created = old.created_at_ms if old else now_ms
    version = old.version + 1 if old else 1
    fresh = msgspec.structs.replace(event_type, version=version, created_at_ms=created, updated_at_ms=now_ms)
    return RegistryChange(f"type/{event_type.tenant}/{event_type.mode}/{event_type.name}", fresh, version)
