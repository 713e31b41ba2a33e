"""Decisions about erasures: destroy the key of a subject, and store that its earlier events are erased.

Rules of this file
- The erasure and the tree without the key are written in one transaction: there is no erasure whose key still exists.
- The record of an erasure stays. It keeps replays and redeliveries of older records from delivering them again, with
  the subject's next key.
"""

from __future__ import annotations

from app.core.directory import Directory
from app.core.errors import CommandRefused
from app.core.limits import ERASURES
from app.core.model.erasure import Erasure, SubjectKeys
from app.core.records.command import EraseSubject, ResealSubjectKeys
from app.core.subjects import SubjectKeeper
from app.roles.registry.changes import RegistryChange
from app.roles.registry.tenants import check_not_deleted

#: parts of the tree that one command seals again
_RESEALED = 50
#: characters of an id at most
_MAX_ID = 64


def decide(
    action: EraseSubject | ResealSubjectKeys, directory: Directory, now_ms: int, keeper: SubjectKeeper | None
) -> list[RegistryChange]:
    """The changes that a command causes. Raises `CommandRefused`."""
    if keeper is None:
        raise CommandRefused("invalid", "this registry has no keys of subjects")
    present = directory.erasures
    if isinstance(action, ResealSubjectKeys):
        return [_part(each) for each in keeper.reseal(present, action.first, _RESEALED, now_ms)]
    check_not_deleted(directory, action.tenant)
    if len(action.id) > _MAX_ID:
        raise CommandRefused("invalid", "id: it is not that of a subject's erasures")
    old = present.by_id.get(action.id)
    if old is not None and (old.tenant, old.mode) != (action.tenant, action.mode):
        raise CommandRefused("invalid", f"erasure {action.id} belongs to another tenant or mode")
    if old is None and present.number_of(action.tenant) >= ERASURES:
        raise CommandRefused("limit_reached", f"a tenant may have {ERASURES} erased subjects, and this one has as many")
    number = 0 if old is None else old.version
    erasure = Erasure(
        id=action.id,
        tenant=action.tenant,
        mode=action.mode,
        erased_at_ms=max(now_ms, 0 if old is None else old.erased_at_ms),
        version=number + 1,
    )
    parts = keeper.destroy(present, action.id, number, now_ms)
    return [RegistryChange(f"erasure/{erasure.id}", erasure, erasure.version), *map(_part, parts)]


def first_keys(directory: Directory, now_ms: int, keeper: SubjectKeeper) -> list[RegistryChange]:
    """The tree of keys of a registry that has none yet; empty if it has one."""
    return [] if directory.erasures.keys else list(map(_part, keeper.create(now_ms)))


def _part(keys: SubjectKeys) -> RegistryChange:
    return RegistryChange(f"subject-keys/{keys.id}", keys, keys.version)
