"""Live pages: one sampler for each subject with viewers, however many they are.

Rules of this file
- A subject is sampled while it has subscribers, and by one task; changes go to all of them as encoded frames.
- A subscriber that does not keep up is disconnected: its browser reconnects with the id of its last frame.
- A stream counts for its session, its key and its tenant, and ends within a second or two when its viewer may look no
  more: signed out, key revoked, link expired.
- Recent frames are kept for that; a browser that has missed more reloads the page.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence

import msgspec
import structlog

from app.core.errors import HookstreamError
from app.ports.clock import Clock

log = structlog.get_logger(__name__)

#: changes: (event, text)
Sample = Callable[[], Awaitable[Sequence[tuple[str, str]]]]

_QUEUE = 32
_BACKLOG = 64
BEAT_S = 15.0
#: streams of one process, tenant, key (with the portal links that it has made) and session
MAX_STREAMS = 1000
MAX_OF_TENANT = 200
MAX_OF_KEY = 100
MAX_OF_SESSION = 20
#: a viewer without permission is disconnected within that time
LOOK_S = 1.0
_BEAT = b": beat\n\n"


class TooManyStreams(Exception):
    """A viewer has too many live pages open."""


class _Subject:
    def __init__(self, sample: Sample, every_s: float, epoch: str) -> None:
        self.sample = sample
        self.every_s = every_s
        self.epoch = epoch
        self.number = 0
        self.backlog: deque[tuple[int, bytes]] = deque(maxlen=_BACKLOG)
        self.queues: set[asyncio.Queue[bytes | None]] = set()
        self.subscribers = 0
        self.task: asyncio.Task[None] | None = None

    def missed(self, last_id: str) -> list[bytes]:
        """The frames after the last one that the subscriber received; a `resync` if some were dropped."""
        epoch, _, number = last_id.partition(".")
        if not last_id:
            return []
        seen = int(number) if number.isascii() and number.isdigit() and len(number) < 16 else -1
        oldest = self.backlog[0][0] if self.backlog else self.number + 1
        if epoch != self.epoch or not oldest - 1 <= seen <= self.number:
            return [_frame(f"{self.epoch}.{self.number}", "resync", "")]
        return [frame for at, frame in self.backlog if at > seen]

    def tell(self, events: Sequence[tuple[str, str]]) -> None:
        for event, text in events:
            self.number += 1
            frame = _frame(f"{self.epoch}.{self.number}", event, text)
            self.backlog.append((self.number, frame))
            self.give(frame)

    def give(self, frame: bytes) -> None:
        for queue in list(self.queues):
            if queue.full():
                self.queues.discard(queue)
                _say_goodbye(queue)
            else:
                queue.put_nowait(frame)


class Viewer(msgspec.Struct, frozen=True, kw_only=True):
    """The viewer of a stream, and the accounts that the stream counts for."""

    session: str
    #: the key that the session or the portal link was made with
    payer: str
    #: empty: the operator
    tenant: str = ""
    #: whether it may still look: asked each second
    allowed: Callable[[], bool]


class Subscription:
    """The frames of one page, as an iterator that must be closed."""

    def __init__(self, hub: LiveHub, name: tuple[str, ...], subject: _Subject, viewer: Viewer, last_id: str) -> None:
        self.viewer = viewer
        self._hub = hub
        self._name = name
        self._subject = subject
        self._last_id = last_id
        self._greeted = False
        self._attached = False
        self._ended = False
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(_QUEUE)
        self._missed: deque[bytes] = deque()

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> bytes:
        if not self._greeted and not self._ended:
            self._greeted = True
            return b"retry: 2000\n\n"
        if not self._attached and not self._ended:
            self._attached = True
            self._missed.extend(self._subject.missed(self._last_id))
            self._hub.attach(self._subject, self._queue)
        if self._missed and not self._ended:
            return self._missed.popleft()
        frame = None if self._ended else await self._queue.get()
        if frame is None:
            await self.aclose()
            raise StopAsyncIteration
        return frame

    def end(self) -> None:
        """End the subscription from the side of the hub."""
        self._ended = True
        self._hub.leave(self, self._name, self._subject, self._queue)
        _say_goodbye(self._queue)

    async def aclose(self) -> None:
        """End the subscription from the side of the page."""
        self._ended = True
        self._hub.leave(self, self._name, self._subject, self._queue)


class LiveHub:
    """The live pages of one process."""

    def __init__(self, clock: Clock, epoch: str) -> None:
        """`epoch` differs between processes and starts, so that the ids of frames do too."""
        self._clock = clock
        self._epoch = epoch
        self._subjects: dict[tuple[str, ...], _Subject] = {}
        self._open: dict[Subscription, None] = {}
        #: how many a session, a key and a tenant have
        self._count: Counter[tuple[str, str]] = Counter()
        self._watch: asyncio.Task[None] | None = None

    def streams(self) -> int:
        """The number of open streams."""
        return len(self._open)

    def subscribe(
        self, name: tuple[str, ...], sample: Sample, *, every_s: float, viewer: Viewer, last_id: str = ""
    ) -> Subscription:
        """The subject's frames, for as long as the viewer has permission. Raises `TooManyStreams`."""
        if any(self._count[account] >= most for account, most in _accounts(viewer)):
            raise TooManyStreams
        if len(self._open) >= MAX_STREAMS:
            self._displace(viewer)
        subject = self._subjects.get(name)
        if subject is None:
            subject = self._subjects[name] = _Subject(sample, every_s, self._epoch)
        subject.subscribers += 1
        subscription = Subscription(self, name, subject, viewer, last_id)
        self._open[subscription] = None
        self._count.update(account for account, _ in _accounts(viewer))
        if self._watch is None:
            self._watch = asyncio.create_task(self._look_at_viewers())
        return subscription

    def attach(self, subject: _Subject, queue: asyncio.Queue[bytes | None]) -> None:
        """Add the queue to the subject's subscribers."""
        subject.queues.add(queue)
        if subject.task is None:
            subject.task = asyncio.create_task(self._run(subject))

    def leave(
        self, subscription: Subscription, name: tuple[str, ...], subject: _Subject, queue: asyncio.Queue[bytes | None]
    ) -> None:
        """Remove a subscription whose page was closed."""
        if subscription not in self._open:
            return
        del self._open[subscription]
        subject.queues.discard(queue)
        subject.subscribers -= 1
        for account, _ in _accounts(subscription.viewer):
            self._count[account] -= 1
            if not self._count[account]:
                del self._count[account]
        if not subject.subscribers and self._subjects.get(name) is subject:
            if subject.task is not None:
                subject.task.cancel()
            del self._subjects[name]
        if not self._open and self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def _displace(self, viewer: Viewer) -> None:
        """Close a stream of the tenant with the most, if the viewer's has fewer. Raises `TooManyStreams` otherwise."""
        tenants = Counter(each.viewer.tenant for each in self._open)
        richest, most = tenants.most_common(1)[0]
        if most <= tenants[viewer.tenant] + 1:
            raise TooManyStreams
        next(each for each in self._open if each.viewer.tenant == richest).end()

    async def _look_at_viewers(self) -> None:
        while True:
            await self._clock.sleep(LOOK_S)
            for subscription in list(self._open):
                if not subscription.viewer.allowed():
                    subscription.end()

    async def _run(self, subject: _Subject) -> None:
        beat_at = self._clock.monotonic() + BEAT_S
        while True:
            try:
                subject.tell(await subject.sample())
            except HookstreamError as error:
                log.info("live.unknown", error=str(error))
            except Exception:  # the failure would otherwise be lost
                log.exception("live.failed")
            await self._clock.sleep(subject.every_s)
            if self._clock.monotonic() >= beat_at:
                beat_at = self._clock.monotonic() + BEAT_S
                subject.give(_BEAT)

    async def close(self) -> None:
        """End all subscriptions."""
        for subject in list(self._subjects.values()):
            if subject.task is not None:
                subject.task.cancel()
        for subscription in list(self._open):
            subscription.end()


def _accounts(viewer: Viewer) -> list[tuple[tuple[str, str], int]]:
    """The accounts that a stream counts for, each with its limit."""
    accounts = [(("session", viewer.session), MAX_OF_SESSION), (("key", viewer.payer), MAX_OF_KEY)]
    return [*accounts, (("tenant", viewer.tenant), MAX_OF_TENANT)] if viewer.tenant else accounts


def _say_goodbye(queue: asyncio.Queue[bytes | None]) -> None:
    while queue.full():
        queue.get_nowait()
    queue.put_nowait(None)


def _frame(id_: str, event: str, text: str) -> bytes:
    lines = "".join(f"data: {line}\n" for line in text.splitlines() or [""])
    return f"id: {id_}\nevent: {event}\n{lines}\n".encode()
