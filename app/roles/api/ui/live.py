"""Live pages: one sampler for each subject that somebody looks at, however many look.

Rules of this file
- A subject is sampled while it has subscribers, and by one task; what is new goes to all of them as ready frames.
- A subscriber that does not keep up is let go: its browser comes again and says what it has seen last.
- What a subject has sent lately is kept for that; who has missed more is told to ask for the page again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

import structlog

from app.core.errors import HookstreamError
from app.ports import Clock

log = structlog.get_logger(__name__)

#: what is new: (event, text)
Sample = Callable[[], Awaitable[Sequence[tuple[str, str]]]]

_QUEUE = 32
_KEPT = 64
BEAT_S = 15.0
#: streams of one process, and of one session
MAX_STREAMS = 1000
MAX_OF_SESSION = 20
_BEAT = b": beat\n\n"


class TooMany(Exception):
    """Somebody has too many pages open."""


class _Subject:
    def __init__(self, sample: Sample, every_s: float, epoch: str) -> None:
        self.sample = sample
        self.every_s = every_s
        self.epoch = epoch
        self.number = 0
        self.kept: deque[tuple[int, bytes]] = deque(maxlen=_KEPT)
        self.queues: set[asyncio.Queue[bytes | None]] = set()
        self.task: asyncio.Task[None] | None = None

    def missed(self, last_id: str) -> list[bytes]:
        """The frames after one that a subscriber has seen."""
        epoch, _, number = last_id.partition(".")
        if not last_id:
            return []
        seen = int(number) if number.isascii() and number.isdigit() and len(number) < 16 else -1
        oldest = self.kept[0][0] if self.kept else self.number + 1
        if epoch != self.epoch or not oldest - 1 <= seen <= self.number:
            return [_frame(f"{self.epoch}.{self.number}", "resync", "")]
        return [frame for at, frame in self.kept if at > seen]

    def tell(self, events: Sequence[tuple[str, str]]) -> None:
        for event, text in events:
            self.number += 1
            frame = _frame(f"{self.epoch}.{self.number}", event, text)
            self.kept.append((self.number, frame))
            self.give(frame)

    def give(self, frame: bytes) -> None:
        for queue in list(self.queues):
            if queue.full():
                self.queues.discard(queue)
                queue.get_nowait()
                queue.put_nowait(None)
            else:
                queue.put_nowait(frame)


class Hub:
    """All live pages of this process."""

    def __init__(self, clock: Clock, epoch: str) -> None:
        """`epoch` differs between processes and starts: ids of others are not ours."""
        self._clock = clock
        self._epoch = epoch
        self._subjects: dict[tuple[str, ...], _Subject] = {}
        self._of_session: dict[str, int] = {}

    def streams(self) -> int:
        """How many pages are open."""
        return sum(self._of_session.values())

    def subscribe(
        self, subject: tuple[str, ...], sample: Sample, *, every_s: float, session: str, until_ms: int,
        last_id: str = "",
    ) -> AsyncGenerator[bytes, None]:  # fmt: skip
        """Frames as they come, until `until_ms` (looked at with each beat). Raises `TooMany`."""
        if self.streams() >= MAX_STREAMS or self._of_session.get(session, 0) >= MAX_OF_SESSION:
            raise TooMany
        return self._frames(subject, sample, every_s, session, until_ms, last_id)

    async def _frames(
        self, name: tuple[str, ...], sample: Sample, every_s: float, session: str, until_ms: int, last_id: str
    ) -> AsyncGenerator[bytes, None]:
        self._of_session[session] = self._of_session.get(session, 0) + 1
        queue: asyncio.Queue[bytes | None] = asyncio.Queue(_QUEUE)
        subject = self._subjects.get(name)
        if subject is None:
            subject = self._subjects[name] = _Subject(sample, every_s, self._epoch)
        try:
            yield b"retry: 2000\n\n"
            for frame in subject.missed(last_id):
                yield frame
            subject.queues.add(queue)
            if subject.task is None:
                subject.task = asyncio.create_task(self._run(subject))
            while (frame_ := await queue.get()) is not None:
                if frame_ is _BEAT and self._clock.now_ms() >= until_ms:
                    return
                yield frame_
        finally:
            subject.queues.discard(queue)
            self._leave(name, subject, session)

    def _leave(self, name: tuple[str, ...], subject: _Subject, session: str) -> None:
        self._of_session[session] -= 1
        if not self._of_session[session]:
            del self._of_session[session]
        if not subject.queues and self._subjects.get(name) is subject:
            if subject.task is not None:
                subject.task.cancel()
            del self._subjects[name]

    async def _run(self, subject: _Subject) -> None:
        beat_at = self._clock.monotonic() + BEAT_S
        while True:
            try:
                subject.tell(await subject.sample())
            except HookstreamError as error:
                log.info("live.unknown", error=str(error))
            except Exception:  # nobody else would hear of it
                log.exception("live.failed")
            await self._clock.sleep(subject.every_s)
            if self._clock.monotonic() >= beat_at:
                beat_at = self._clock.monotonic() + BEAT_S
                subject.give(_BEAT)

    async def close(self) -> None:
        """Let everybody go."""
        for subject in list(self._subjects.values()):
            if subject.task is not None:
                subject.task.cancel()
            for queue in subject.queues:
                while queue.full():
                    queue.get_nowait()
                queue.put_nowait(None)
            subject.queues.clear()


def _frame(id_: str, event: str, text: str) -> bytes:
    lines = "".join(f"data: {line}\n" for line in text.splitlines() or [""])
    return f"id: {id_}\nevent: {event}\n{lines}\n".encode()
