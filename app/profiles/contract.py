"""The contract of a profile: wire format and policy of one product, as data and three pure functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from app.profiles.policy import DisableRule

HeaderPairs = tuple[tuple[str, str], ...]
#: signs a message with an Ed25519 key: 64 bytes
SignMessage = Callable[[bytes], bytes]


class EventView(msgspec.Struct, frozen=True):
    """The fields of an event for an envelope."""

    id: str
    type: str
    #: ISO 8601, as the producer gave it or derived from the record
    created_at: str
    #: the event's data as JSON, byte for byte
    data: bytes


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """One product's wire format and policy. The functions are pure and cost microseconds: they run for each attempt."""

    name: str
    #: the request body; raises `Unrepresentable` where the format cannot carry the data unchanged
    envelope: Callable[[EventView], bytes]
    #: from the secret as the customer sees it to the HMAC key; raises `ConfigError`, which does not quote the secret
    key: Callable[[str], bytes]
    #: (body, keys newest first, event id, unix seconds of the attempt) → signature headers. A list-valued signature
    #: header has one entry for each key; a single-valued one is made with the newest key alone. Without keys there are
    #: no headers where the secret is optional, else `Defect`: nothing goes out unsigned by accident.
    headers: Callable[[bytes, Sequence[bytes], str, int], HeaderPairs]
    #: seconds before attempt 1, 2, …; the first is 0
    schedule_s: tuple[float, ...]
    #: seconds for one exchange
    timeout_s: float
    secret_required: bool = True
    #: prefixes of event types that only patterns beginning with them include
    opt_in: tuple[str, ...] = ()
    disable: DisableRule = DisableRule()
