"""Identifiers: which things are the same thing.

All are deterministic functions of what they identify, so that work done twice names the same thing twice.
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
    """120 bits of BLAKE2b as RFC 4648 base32 in lower case, written out: `base64.b32encode` takes twice as long."""
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
    """The id of an event whose producer gave none: the same record read again is the same event (DESIGN section 3)."""
    return "evt_" + _digest(topic, str(partition), str(offset))


def delivery_id(tenant: str, event: str, endpoint: str, replay: str = "") -> str:
    """One event for one endpoint (DESIGN guarantee 3).

    Collapses: fan-out repeated after a crash, redelivery by Kafka, retries.
    Does not collapse: a replay (its id differs), another endpoint, the same producer id at another tenant.
    """
    return "dlv_" + _digest(tenant, event, endpoint, replay)


def delivery_ids(tenant: str, event: str, replay: str = "") -> Callable[[str], str]:
    """`delivery_id` of one event for many endpoints."""
    before, after = _text(tenant, event), _text(replay)
    return lambda endpoint: "dlv_" + _name(f"{before}{len(endpoint)}:{endpoint}{after}")


def replay_id(group: str, partition: int, start: int, until: int) -> str:
    """A reset of `group` that reads [start, until) of a partition again; the same reset names the same replay."""
    return "rpl_" + _digest(group, str(partition), str(start), str(until))


def endpoint_id(tenant: str, mode: str, idempotency_key: str) -> str:
    """An endpoint that was asked for with an Idempotency-Key: asked for again, it is the same one."""
    return "ep_" + _digest("endpoint", tenant, mode, idempotency_key)


def posted_event_id(tenant: str, mode: str, idempotency_key: str, index: int) -> str:
    """An event that was posted with an Idempotency-Key, without an id of its own."""
    return "evt_" + _digest("posted", tenant, mode, idempotency_key, str(index))


def keyed_event_id(tenant: str, mode: str, idempotency_key: str) -> str:
    """An event that was posted with the field `idempotency_key`, without an id: posted again it is the same one."""
    return "evt_" + _digest("keyed", tenant, mode, idempotency_key)


def recovery_id(endpoint: str, since_ms: int) -> str:
    """The recovery of what an endpoint missed since it was disabled: asked for twice, it is one."""
    return "rpl_" + _digest("recovery", endpoint, str(since_ms))


def asked_replay_id(tenant: str, mode: str, idempotency_key: str) -> str:
    """A replay that was asked for with an Idempotency-Key: asked for again, it is the same one."""
    return "rpl_" + _digest("asked", tenant, mode, idempotency_key)


def notice_id(endpoint: str, kind: str, offset: int, at_ms: int) -> str:
    """A notice that the signal at `offset` led to: read again, it leads to the same one."""
    return "ntc_" + _digest("notice", endpoint, kind, str(offset), str(at_ms))


def health_command_id(endpoint: str, epoch: int, offset: int, index: int) -> str:
    """A command that the signal at `offset` led to."""
    return _digest("health", endpoint, str(epoch), str(offset), str(index))


def mail_id(address: str, notices: Sequence[str]) -> str:
    """An e-mail about these notices for an address: written again, it is the same one."""
    return "ntc." + _digest("mail", address, *notices)
