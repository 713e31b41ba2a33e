"""What the measurements stand on: a broker, a receiver, fresh topics, and children pinned to cores."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import msgspec
import structlog

from app.adapters.kafka.admin import KafkaAdmin
from app.adapters.telemetry.logs import configure
from app.core.topics.declarations import Topics
from app.core.topics.drift import plan
from app.embedded.broker.broker import EmbeddedBroker
from app.embedded.broker.jars import default_cache
from app.runtime.topics import topics_of
from app.settings import Settings
from tests.bench.receiver import Tally
from tests.kafka import clients_at

structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # a child's answer goes to stdout

#: no single child may run longer, unless it is said
_CHILD_S = 120.0

R = TypeVar("R")


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What a child is told; each uses what concerns it."""

    bootstrap: str
    #: of the topics and groups
    prefix: str
    #: base URL of the receiver
    receiver: str
    #: events, deliveries or requests
    count: int
    #: records made before the clock starts, for warm-up
    warmup: int = 0
    #: events for each second; 0: as fast as it can
    rate: float = 0.0
    data_dir: str = ""
    #: registered in all
    endpoints: int = 0
    profile: bool = False


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What a child has measured."""

    count: int
    seconds: float
    cpu_seconds: float = 0.0
    #: what the profiler found, as text
    profile: str = ""

    @property
    def per_second(self) -> float:
        """Units for each second of wall time."""
        return self.count / self.seconds

    @property
    def cpu_us(self) -> float:
        """CPU microseconds for each unit."""
        return self.cpu_seconds / self.count * 1e6


def settings_of(task: Task) -> Settings:
    """The settings that the children run the product with."""
    return Settings(
        topic_prefix=task.prefix,
        replication_factor=1,
        allow_http=True,
        egress_allow=("127.0.0.0/8",),
        data_dir=Path(task.data_dir or "."),
    )


def pin(pid: int, cores: Iterable[int]) -> None:
    """Keep all threads of a process on these cores."""
    for thread in os.listdir(f"/proc/{pid}/task"):
        os.sched_setaffinity(int(thread), cores)


class Child:
    """A Python process of ours that speaks JSON lines."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pid = process.pid

    @classmethod
    async def start(cls, module: str, *arguments: str, cores: Iterable[int] | None = None) -> Child:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=1 << 24,
        )
        if cores is not None:
            pin(process.pid, cores)
        return cls(process)

    async def line(self, within_s: float = _CHILD_S) -> bytes:
        """Its next line; fails when it has ended without one."""
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), within_s)
        assert line, f"a child has ended: exit code {await self._process.wait()}"
        return line

    async def ask(self) -> bytes:
        """Its answer to an empty line."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        return await self.line()

    async def end(self) -> None:
        """Close its standard input, which asks it to end; by force after 15 s."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), 15)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


class Stage:
    """A running broker and receiver."""

    def __init__(self, bootstrap: str, broker_pid: int, receiver: str, receiver_pid: int, folder: Path) -> None:
        self.bootstrap = bootstrap
        self.receiver = receiver
        self.broker_pid = broker_pid
        self._others = (broker_pid, receiver_pid)
        self._folder = folder
        cores = sorted(os.sched_getaffinity(0))
        self._all = cores
        #: the core of what is measured, and those of everything else
        self.measured, self.rest = [cores[-1]], cores[:-1] or cores

    def pin_others(self, apart: bool) -> None:
        """Keep broker and receiver off the measured core, or let them run anywhere."""
        for pid in self._others:
            pin(pid, self.rest if apart else self._all)

    async def topics(self) -> tuple[str, Topics]:
        """Fresh topics under a prefix of their own."""
        prefix = f"b{secrets.token_hex(4)}."
        topics = topics_of(Settings(topic_prefix=prefix, replication_factor=1))
        async with KafkaAdmin(clients_at(self.bootstrap)) as admin:
            await admin.apply(plan(topics, await admin.actual(topics)))
        return prefix, topics

    def folder(self) -> str:
        """An empty folder for one process."""
        return tempfile.mkdtemp(dir=self._folder)

    async def measure(self, module: str, task: Task, *words: str, kind: type[R], within_s: float = _CHILD_S) -> R:
        """Run `module` as a child on the measured core; its answer."""
        child = await Child.start(module, *words, msgspec.json.encode(task).decode(), cores=self.measured)
        try:
            return msgspec.json.decode(await child.line(within_s), type=kind)
        finally:
            await child.end()

    async def tally(self, *, reset: bool = False) -> Tally:
        """What the receiver has counted."""
        host, port = self.receiver.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /reset HTTP/1.1\r\n\r\n" if reset else b"GET /stats HTTP/1.1\r\n\r\n")
        answer = await reader.read(-1)
        writer.close()
        return msgspec.json.decode(answer.partition(b"\r\n\r\n")[2], type=Tally)


def cpu_seconds(pid: int) -> float:
    """The CPU time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    """Start broker and receiver; both end with the context."""
    with tempfile.TemporaryDirectory() as folder:
        broker = EmbeddedBroker(data_dir=Path(folder), cache_dir=default_cache(os.environ.get("XDG_CACHE_HOME")))
        receiver = await Child.start("tests.bench.receiver")
        try:
            bootstrap = await broker.start()
            assert broker.pid is not None
            url = f"http://127.0.0.1:{int(await receiver.line())}"
            yield Stage(bootstrap, broker.pid, url, receiver.pid, Path(folder))
        finally:
            await receiver.end()
            await broker.stop()


def begin(text: str) -> Task:
    """A child's task. The child logs as a service does from then on: unconfigured, each attempt would print a line."""
    configure(style="json", level="info")
    return msgspec.json.decode(text, type=Task)


def answer(result: msgspec.Struct) -> None:
    """A child's last word."""
    sys.stdout.write(msgspec.json.encode(result).decode() + "\n")
    sys.stdout.flush()
