"""Bodies of /v1/erasures."""

from __future__ import annotations

import msgspec

from app.api.contract.fields import Input, Subject


class ErasureIn(Input, frozen=True, kw_only=True):
    """A subject to erase, in the tenant and mode of the key."""

    #: as its events name it
    subject: Subject


class ErasureOut(msgspec.Struct, frozen=True, kw_only=True):
    """The last erasure of a subject, which it does not name."""

    #: the same for each erasure of the subject
    id: str
    #: events that were appended until then are erased
    erased_at: str
    #: how often the subject was erased
    times: int
