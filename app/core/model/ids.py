"""Identifiers, as deterministic functions of what they identify.

Work that is repeated after a crash therefore creates the same ids.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b

_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
#: ten bits → two characters
_TWO = [first + second for first in _ALPHABET for second in _ALPHABET]


def _text(*parts: str) -> str:
    # Length-prefixed parts: ("a", "bc") and ("ab", "c") differ.
    return "".join([f"{len(part)}:{part}" for part in parts])


def _digest(*parts: str) -> str:
    return _name(_text(*parts))


def _name(text: str) -> str:
    """120 bits of BLAKE2b as RFC 4648 base32 in lower case, without `base64.b32encode`, which takes twice as long."""
    bits = int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=15).digest(), "big")
    high, low, two = bits >> 60, bits & 0xFFFFFFFFFFFFFFF, _TWO
    return (
        two[high >> 50]
        + two[high >> 40 & 1023]
        + two[high >> 30 & 1023]
        + two[high >> 20 & 1023]
        + two[high >> 10 & 1023]
        + two[high & 1023]
        + two[low >> 50]
        + two[low >> 40 & 1023]
        + two[low >> 30 & 1023]
        + two[low >> 20 & 1023]
        + two[low >> 10 & 1023]
        + two[low & 1023]
    )


def event_id(topic: str, partition: int, offset: int) -> str:
    """The id of an event without one of its own; a record that is read again is the same event."""
    return "evt_" + _digest(topic, str(partition), str(offset))


def input_event_id(topic: str, partition: int, offset: int, timestamp_ms: int) -> str:
    """The id of an event that an input makes of a record without an id.

    A topic that is deleted and created again has the same offsets, but not the same times.
    """
    return "evt_" + _digest("input", topic, str(partition), str(offset), str(timestamp_ms))


def delivery_id(tenant: str, event: str, endpoint: str, replay: str = "") -> str:
    """The id of one event's delivery to one endpoint (DESIGN guarantee 3).

    It is the same when fan-out repeats the event after a crash, and for all retries. It differs for each replay,
    endpoint and tenant.
    """
    return "dlv_" + _digest(tenant, event, endpoint, replay)


def delivery_ids(tenant: str, event: str, replay: str = "") -> Callable[[str], str]:
    """`delivery_id` of one event for many endpoints."""
    before, after = _text(tenant, event), _text(replay)
    return lambda endpoint: "dlv_" + _name(f"{before}{len(endpoint)}:{endpoint}{after}")


def replay_id(group: str, partition: int, start: int, until: int) -> str:
    """The replay that a reset of `group` causes: offsets [start, until) of a partition are read again."""
    return "rpl_" + _digest(group, str(partition), str(start), str(until))


def endpoint_id(tenant: str, mode: str, idempotency_key: str) -> str:
    """The id of an endpoint that is created with an Idempotency-Key."""
    return "ep_" + _digest("endpoint", tenant, mode, idempotency_key)


def posted_event_id(tenant: str, mode: str, idempotency_key: str, index: int) -> str:
    """The id of an event that is posted with an Idempotency-Key and without an id."""
    return "evt_" + _digest("posted", tenant, mode, idempotency_key, str(index))


def keyed_event_id(tenant: str, mode: str, idempotency_key: str) -> str:
    """The id of an event that is posted with the field `idempotency_key` and without an id."""
    return "evt_" + _digest("keyed", tenant, mode, idempotency_key)


def recovery_id(endpoint: str, since_ms: int) -> str:
    """The id of the replay that recovers what an endpoint missed in the disablement that began at `since_ms`."""
    return "rpl_" + _digest("recovery", endpoint, str(since_ms))


def asked_replay_id(tenant: str, mode: str, idempotency_key: str) -> str:
    """The id of a replay that is created with an Idempotency-Key."""
    return "rpl_" + _digest("asked", tenant, mode, idempotency_key)


def notice_id(endpoint: str, kind: str, offset: int, at_ms: int) -> str:
    """The id of the notice that the signal at `offset` causes."""
    return "ntc_" + _digest("notice", endpoint, kind, str(offset), str(at_ms))


def health_command_id(endpoint: str, epoch: int, offset: int, index: int) -> str:
    """The id of a command that the signal at `offset` causes."""
    return _digest("health", endpoint, str(epoch), str(offset), str(index))


def mail_id(address: str, notices: Sequence[str]) -> str:
    """The id of the e-mail to an address about these notices."""
    return "ntc." + _digest("mail", address, *notices)
