"""Erasures of subjects, and the keys that seal what Hookstream writes about a subject."""

from __future__ import annotations

import msgspec

from app.core import limits
from app.core.errors import MalformedEvent
from app.core.model.endpoint import SealedSecret
from app.core.model.event import Mode


class Erasure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The last erasure of a subject; the value of `erasure/<id>` in registry. It does not name the subject."""

    #: the same for each erasure of a subject; only who knows tenant, mode and subject can tell whose it is
    id: str
    tenant: str
    mode: Mode
    #: events that were appended until then are erased; milliseconds since the epoch
    erased_at_ms: int
    #: how often the subject was erased
    version: int = 1


class SubjectKeys(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A part of the tree of keys (core/subject_tree.py); the value of `subject-keys/<id>` in registry."""

    #: `root`, the branch of the root below which a key was destroyed (three hexadecimal digits), or `salt`
    id: str
    #: the nodes that are left, or the salt of ids and leaves, sealed with a key of the ring
    sealed: SealedSecret
    version: int = 1

    @property
    def owner(self) -> str:
        """The associated data of its seal."""
        return f"subject-keys/{self.id}"


def subject_of(text: str | None) -> str | None:
    """The subject of an event; None if it names none. Raises `MalformedEvent`."""
    if text and not is_subject(text):
        raise MalformedEvent("bad_subject", f"subject: 1 to {limits.SUBJECT} printable characters")
    return text or None


def is_subject(text: str) -> bool:
    """Whether `text` can be the subject of an event."""
    return 1 <= len(text) <= limits.SUBJECT and text.isprintable()
