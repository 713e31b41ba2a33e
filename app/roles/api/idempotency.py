"""Idempotency-Key: the same request again gets the same answer, and is not carried out twice.

This memory is one process's. What has to hold across processes and crashes (creating an endpoint, appending an event,
rotating a secret) is deterministic in the key, and does not depend on it.
"""

from __future__ import annotations

from collections import OrderedDict

import msgspec

from app.roles.api.problems import ApiError

_KEPT_MS = 24 * 3_600_000
_KEPT = 10_000
_KEPT_BYTES = 64 * 1024 * 1024
_MAX_KEY = 255


class Stored(msgspec.Struct):
    """An answer that was given, or None while the request is under way."""

    fingerprint: str
    at_ms: int
    answer: tuple[int, dict[str, str], bytes] | None = None


class IdempotencyMemory:
    """The latest requests that carried a key."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], Stored] = OrderedDict()
        self._bytes = 0

    def begin(self, caller: str, key: str, fingerprint: str, now_ms: int) -> Stored:
        """Its `answer` is there when this is a repetition; raises `ApiError` 400, 409 or 422."""
        if not (1 <= len(key) <= _MAX_KEY and key.isascii() and key.isprintable()):
            raise ApiError(400, "idempotency_key", f"Idempotency-Key: 1 to {_MAX_KEY} visible ASCII characters")
        known = self._known.get((caller, key))
        if known is None or now_ms - known.at_ms > _KEPT_MS:
            known = self._known[caller, key] = Stored(fingerprint, now_ms)
            self._known.move_to_end((caller, key))
            while len(self._known) > _KEPT:
                self._drop(next(iter(self._known)))
            return known
        if known.fingerprint != fingerprint:
            raise reused()
        if known.answer is None:
            raise ApiError(
                409, "in_flight", "a request with this Idempotency-Key is under way", headers={"Retry-After": "1"}
            )
        return known

    def keep(self, stored: Stored, answer: tuple[int, dict[str, str], bytes]) -> None:
        """The request is done."""
        stored.answer = answer
        self._bytes += len(answer[2])
        for place in list(self._known):
            if self._bytes <= _KEPT_BYTES:
                break
            self._drop(place)

    def forget(self, caller: str, key: str) -> None:
        """The request failed: the next one may try."""
        self._drop((caller, key))

    def _drop(self, place: tuple[str, str]) -> None:
        gone = self._known.pop(place, None)
        if gone is not None and gone.answer is not None:
            self._bytes -= len(gone.answer[2])


def reused() -> ApiError:
    """The key belongs to another request."""
    return ApiError(422, "idempotency_key_reused", "this Idempotency-Key was used for another request")
