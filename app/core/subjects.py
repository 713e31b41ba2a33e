"""What roles and the API ask about the subjects of events; and the erasures that a process knows."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple, Protocol

from app.core.model.delivery import Delivery
from app.core.model.erasure import Erasure, SubjectKeys
from app.core.model.event import Event

#: instead of a sentence that might quote the data of an event with a subject
LEFT_OUT = "details are left out, because the event has a subject"


class SealedBody(NamedTuple):
    """The body of an event, as deliveries of it carry it."""

    value: bytes
    #: the leaf whose key opens it, as hexadecimal digits
    leaf: str


class SubjectVault(Protocol):
    """Seals what Hookstream writes about a subject, with a key that its erasure destroys."""

    def is_erased(self, event: Event, appended_at_ms: int) -> bool:
        """Whether the subject of an event was erased after the event was appended. False without a subject."""
        ...

    def seal(self, event: Event, appended_at_ms: int) -> SealedBody:
        """The sealed body of an event with a subject; an empty one, with a key that does not exist, if it is erased.

        Raises `Unavailable` while the registry has no keys.
        """
        ...

    def has_key(self, leaf: str) -> bool:
        """Whether the key of a leaf exists. Raises `ConfigError` if no key of the ring opens the tree."""
        ...

    def open(self, delivery: Delivery) -> Delivery | None:
        """A sealed delivery with its body as it was; None if its key was destroyed.

        Raises `ConfigError` as `has_key` does, and `Defect` if the body was changed.
        """
        ...

    def erasure_id(self, tenant: str, mode: str, subject: str) -> str:
        """The id of a subject's erasures. Raises `Unavailable` while the registry has no keys."""
        ...


class SubjectKeeper(Protocol):
    """Changes the tree of keys; for the registry's writer."""

    def create(self, now_ms: int) -> list[SubjectKeys]:
        """A new tree: its root and its salt."""
        ...

    def destroy(self, erasures: KnownErasures, erasure_id: str, number: int, now_ms: int) -> list[SubjectKeys]:
        """The changed parts of the tree, without the key of a subject that was erased `number` times before.

        Raises `CommandRefused` while there is no tree.
        """
        ...

    def reseal(self, erasures: KnownErasures, first: str, limit: int, now_ms: int) -> list[SubjectKeys]:
        """At most `limit` parts that another key than `first` of the ring has sealed, sealed with that one.

        Raises `CommandRefused` if this process seals with another key.
        """
        ...


class KnownErasures:
    """The erasures and the tree of keys in the registry, as far as a process has read it."""

    def __init__(self) -> None:
        self.by_id: dict[str, Erasure] = {}
        #: the parts of the tree of keys, by id
        self.keys: dict[str, SubjectKeys] = {}
        self._of: Counter[str] = Counter()

    def number_of(self, tenant: str) -> int:
        """How many subjects of a tenant were erased, in both modes together."""
        return self._of[tenant]

    def put(self, erasure: Erasure) -> None:
        """Add or replace."""
        self.remove(erasure.id)
        self.by_id[erasure.id] = erasure
        self._of[erasure.tenant] += 1

    def remove(self, erasure_id: str) -> None:
        """Remove, if it is there."""
        old = self.by_id.pop(erasure_id, None)
        if old is not None:
            self._of[old.tenant] -= 1

    def put_keys(self, keys: SubjectKeys) -> None:
        """Add or replace a part of the tree."""
        self.keys[keys.id] = keys

    def remove_keys(self, name: str) -> None:
        """Remove a part of the tree, if it is there."""
        self.keys.pop(name, None)
