"""The service as it runs in production: each role a process of its own, on one Kafka that can be hurt."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.embedded.broker import kraft
from app.embedded.broker.broker import EmbeddedBroker
from tests.conftest import JAR_CACHE
from tests.e2e.harness import Service
from tests.faults.proxy import Proxy

#: the processes that always run
BASE = (
    ("fanout",),
    ("dispatch",),
    ("sequencer",),
    ("delay",),
    ("registry",),
    ("projection",),
    ("replay", "health", "notifier", "api"),
)
#: what a further worker runs
WORKER = ("fanout", "dispatch", "sequencer", "delay")
SETTINGS = {
    "HOOKSTREAM_TIME_SCALE": "0.2",
    "HOOKSTREAM_SESSION_TIMEOUT": "3",
    "HOOKSTREAM_PARTITIONS": "6",
    "HOOKSTREAM_LOG_LEVEL": "info",
}
#: the broker may not write files larger than this, when its disk is "full": less than any file that it has open
_FULL_BYTES = 1


@dataclass(slots=True)
class Window:
    """A fault: what it was and from when to when, in seconds of the loop's clock."""

    fault: str
    begun: float
    ended: float = float("inf")


class Cluster:
    """A broker, the proxy before it, and the service's processes."""

    def __init__(self, folder: Path, other_release: Path | None = None) -> None:
        """`other_release`: the root of another version's code, with which all processes start."""
        self._folder = folder
        self._other_release = other_release
        direct = kraft.free_port()
        proxied = kraft.free_port(besides=direct)
        outside = kraft.free_port(besides=proxied)
        quorum = kraft.free_port(besides=outside)
        self.broker = EmbeddedBroker(
            data_dir=folder,
            port=direct,
            cache_dir=JAR_CACHE,
            properties={
                "listeners": f"BROKER://127.0.0.1:{direct},PROXIED://127.0.0.1:{proxied},"
                f"CONTROLLER://127.0.0.1:{quorum}",
                "controller.quorum.voters": f"1@127.0.0.1:{quorum}",
                "advertised.listeners": f"BROKER://127.0.0.1:{direct},PROXIED://127.0.0.1:{outside}",
                "listener.security.protocol.map": "BROKER:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT",
            },
        )
        self.proxy = Proxy("127.0.0.1", outside, proxied)
        #: for the test's own clients: around the proxy
        self.direct = f"127.0.0.1:{direct}"
        self.through = f"127.0.0.1:{outside}"
        self.prefix = "f."
        #: of the round that is played
        self.tenant = ""
        self.processes: dict[str, Service] = {}
        self.kills = 0
        #: processes that ended without being told to
        self.ended_by_themselves: list[str] = []
        self._expected_down: set[str] = set()
        self._outputs = (folder / "service.log").open("ab")

    async def start(self) -> None:
        """Everything, ready."""
        await self.broker.start()
        await self.proxy.start()
        for roles in BASE:
            name = "+".join(roles)
            self.processes[name] = self._service(name, roles)
            if self._other_release is not None:
                self.use_other_release(name)
        await self.api.cli("topics", "apply", "-o", "json")
        await asyncio.gather(*(each.start() for each in self.processes.values()))

    async def stop(self) -> None:
        """Everything; the exit codes that are not 0 count as an end by itself."""
        for name in list(self.processes):
            await self.leave(name)
        await self.proxy.stop()
        await self.broker.stop()
        self._outputs.close()

    @property
    def api(self) -> Service:
        """The process with the management API."""
        return self.processes["+".join(BASE[-1])]

    def _service(self, name: str, roles: Sequence[str]) -> Service:
        settings = SETTINGS | {"HOOKSTREAM_DATABASE_URL": f"sqlite:///{self._folder / 'readmodel.sqlite3'}"}
        made = Service(self.through, self.prefix, self._folder / name, settings, roles)
        made.output = self._outputs
        return made

    async def kill(self, name: str) -> None:
        """kill -9."""
        self._expected_down.add(name)
        if self.processes[name].alive:
            self.processes[name].kill()
            self.kills += 1
        await self.processes[name].ended()

    async def begin(self, name: str) -> None:
        """Start a process that is down, and wait until it is ready."""
        self._expected_down.discard(name)
        await self.processes[name].start()

    async def end(self, name: str) -> None:
        """SIGTERM, and the end that follows."""
        self._expected_down.add(name)
        code = await self.processes[name].stop()
        if code != 0:
            self.ended_by_themselves.append(f"{name}: exit code {code} after SIGTERM")

    def use_other_release(self, name: str) -> None:
        """A process that is down starts with the code of the other release from now on."""
        assert self._other_release is not None
        self.processes[name].environ["PYTHONPATH"] = str(self._other_release)

    def use_this_release(self, name: str) -> None:
        """A process that is down starts with the code beside these tests from now on."""
        self.processes[name].environ["PYTHONPATH"] = str(Path(__file__).parents[2])

    async def join(self, name: str, *, ready: bool = True) -> None:
        """A further worker."""
        self.processes[name] = self._service(name, WORKER)
        if ready:
            await self.processes[name].start()

    async def leave(self, name: str) -> None:
        """A worker is not needed any more."""
        if self.processes[name].alive:
            await self.end(name)
        self._expected_down.discard(name)
        del self.processes[name]

    async def heal(self) -> None:
        """Whatever happened: all processes of the base run and are ready."""
        for name, process in self.processes.items():
            if not process.alive:
                if name not in self._expected_down:
                    self.ended_by_themselves.append(f"{name}: exit code {await process.ended()}")
                await self.begin(name)
        await asyncio.gather(*(each.until_ready(120) for each in self.processes.values()))

    def signal_broker(self, number: signal.Signals) -> None:
        """To the broker's Java."""
        if self.broker.pid is not None:
            os.kill(self.broker.pid, number)

    async def kill_broker(self) -> None:
        """kill -9, and the end that follows."""
        self.signal_broker(signal.SIGKILL)
        self.kills += 1
        await self.broker.wait_exited()

    async def restart_broker(self) -> None:
        """Start it again after its end."""
        await self.broker.stop()
        await self.broker.start()

    def fill_disk(self) -> None:
        """From now on every write of the broker fails, as on a full disk; over with its restart."""
        if self.broker.pid is not None:
            _, hard = resource.prlimit(self.broker.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(self.broker.pid, resource.RLIMIT_FSIZE, (_FULL_BYTES, hard))


def say(text: str) -> None:
    """Progress, at once."""
    print(text, flush=True)
    sys.stdout.flush()
