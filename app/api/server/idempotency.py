"""Idempotency-Key: the same request again gets the same answer, and is not carried out twice.

A repetition that arrives while the first one is in progress waits for its answer. The cache is per process.
Effects that must hold across processes and crashes (creating an endpoint, appending an event, rotating a secret) are
deterministic in the key, and do not depend on the cache.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import msgspec

from app.api.problems import ApiError, reused

_TTL_MS = 24 * 3_600_000
_MAX_ENTRIES = 10_000
_MAX_BYTES = 64 * 1024 * 1024
_MAX_KEY = 255


class StoredRequest(msgspec.Struct, eq=False):
    """A request with an Idempotency-Key."""

    fingerprint: str
    at_ms: int
    account: str = ""
    #: None while it is in progress, and when it has failed
    answer: tuple[int, dict[str, str], bytes] | None = None
    #: what a repetition gets in its place
    again: Callable[[], Any] | None = None
    #: set when the request has ended
    ended: asyncio.Event = msgspec.field(default_factory=asyncio.Event)


class _Share:
    """The entries of one account, oldest first."""

    def __init__(self) -> None:
        self.requests: OrderedDict[tuple[str, str], None] = OrderedDict()
        self.bytes = 0


class IdempotencyCache:
    """The latest requests with a key. At the limit, the account with the most entries loses its oldest one."""

    def __init__(self) -> None:
        self._stored: dict[tuple[str, str], StoredRequest] = {}
        self._shares: dict[str, _Share] = {}
        self._bytes = 0

    def begin(
        self, caller: str, key: str, fingerprint: str, now_ms: int, account: str = ""
    ) -> tuple[StoredRequest, bool]:
        """The request that has the key, and whether it is this one; raises `ApiError` 400 or 422.

        This one must end with `keep` or `forget`. Another one may be in progress: wait for its `ended`.
        """
        if not (1 <= len(key) <= _MAX_KEY and key.isascii() and key.isprintable()):
            raise ApiError(400, "idempotency_key", f"Idempotency-Key: 1 to {_MAX_KEY} visible ASCII characters")
        stored = self._stored.get((caller, key))
        if stored is None or now_ms - stored.at_ms > _TTL_MS:
            self._drop((caller, key))
            stored = self._stored[caller, key] = StoredRequest(fingerprint, now_ms, account)
            self._shares.setdefault(account, _Share()).requests[caller, key] = None
            while len(self._stored) > _MAX_ENTRIES:
                self._drop_of(max(self._shares.values(), key=lambda each: len(each.requests)))
            return stored, True
        if stored.fingerprint != fingerprint:
            raise reused()
        return stored, False

    def keep(self, caller: str, key: str, stored: StoredRequest, answer: tuple[int, dict[str, str], bytes]) -> None:
        """Store the response, and wake waiting repetitions."""
        stored.answer = answer
        stored.ended.set()
        if self._stored.get((caller, key)) is stored:
            self._bytes += len(answer[2])
            self._shares[stored.account].bytes += len(answer[2])
        while self._bytes > _MAX_BYTES and self._stored:
            self._drop_of(max(self._shares.values(), key=lambda each: each.bytes))

    def forget(self, caller: str, key: str, stored: StoredRequest) -> None:
        """Drop a request that failed, or whose response must not be repeated; the next one is carried out."""
        stored.ended.set()
        if self._stored.get((caller, key)) is stored:
            self._drop((caller, key))

    def _drop_of(self, share: _Share) -> None:
        self._drop(next(iter(share.requests)))

    def _drop(self, place: tuple[str, str]) -> None:
        gone = self._stored.pop(place, None)
        if gone is None:
            return
        share = self._shares[gone.account]
        del share.requests[place]
        if gone.answer is not None:
            self._bytes -= len(gone.answer[2])
            share.bytes -= len(gone.answer[2])
        if not share.requests:
            del self._shares[gone.account]
