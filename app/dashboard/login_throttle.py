"""Failed sign-ins by address, and sessions that have signed out, in the memory of one process."""

from __future__ import annotations

from collections import OrderedDict


class LoginThrottle:
    """Times are arguments, in seconds."""

    MAX_FAILURES = 10
    WINDOW_S = 60.0
    _REMEMBERED = 10_000

    def __init__(self) -> None:
        self._failures: OrderedDict[str, list[float]] = OrderedDict()
        self._ended: OrderedDict[str, None] = OrderedDict()

    def may_try(self, address: str, now_s: float) -> bool:
        """Whether an address has fewer recent failures than the limit."""
        recent = [at for at in self._failures.get(address, []) if now_s - at < self.WINDOW_S]
        return len(recent) < self.MAX_FAILURES

    def failed(self, address: str, now_s: float) -> None:
        """Record a failed sign-in."""
        recent = [at for at in self._failures.pop(address, []) if now_s - at < self.WINDOW_S]
        self._failures[address] = [*recent, now_s][-self.MAX_FAILURES :]
        while len(self._failures) > self._REMEMBERED:
            self._failures.popitem(last=False)

    def end(self, session: str) -> None:
        """Record that a session has signed out."""
        self._ended[session] = None
        while len(self._ended) > self._REMEMBERED:
            self._ended.popitem(last=False)

    def has_ended(self, session: str) -> bool:
        """Whether the session has signed out in this process."""
        return session in self._ended
