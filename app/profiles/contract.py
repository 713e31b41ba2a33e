"""What a profile is: the wire format and the policy of one product, as data plus three pure functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

HeaderPairs = tuple[tuple[str, str], ...]


class EventView(msgspec.Struct, frozen=True):
    """What an envelope shows of an event."""

    id: str
    type: str
    #: ISO 8601, as the producer gave it or derived from the record
    created_at: str
    #: the event's data as JSON, byte for byte
    data: bytes


class DisableRule(msgspec.Struct, frozen=True, kw_only=True):
    """When an endpoint is switched off for failing; a profile without a rule has only defaults."""

    #: a 410 disables at once
    gone_410: bool = False
    #: failed attempts in a row, over all deliveries
    consecutive_failures: int | None = None
    #: days in which every attempt failed, counted from the clock's start
    failing_days: float | None = None
    #: the clock starts with that many failed deliveries …
    onset_failures: int = 1
    #: … within so many hours (None: however far apart) …
    onset_window_h: float | None = None
    #: … of which the first and the last are at least so many hours apart
    onset_spread_h: float = 0.0
    #: the owner is told by e-mail when it happens
    email: bool = False


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
