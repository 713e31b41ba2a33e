"""Start, watch and stop the embedded Kafka broker of `hookstream up` and of the tests."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from app.core.errors import Defect, Unavailable
from app.embedded.broker import jars, kraft
from app.embedded.broker.folder_lock import FolderLock
from app.embedded.broker.process import BrokerProcess

_START_S = 90
_STOP_S = 20
#: seconds for Java to end after its parent process was killed
_PREDECESSOR_S = 15


def _silent(_: str) -> None:
    return None


class EmbeddedBroker:
    """One Kafka node whose records live in `data_dir/kafka`, its log in `data_dir/kafka/logs`.

    It may be started again after `stop` and after a crash, on the same port. It belongs to no event loop.
    Not for concurrent calls of `start` and `stop`.
    """

    def __init__(
        self,
        *,
        data_dir: Path,
        port: int = 0,
        cache_dir: Path | None = None,
        say: Callable[[str], None] = _silent,
        which: Callable[[str], str | None] = shutil.which,
        properties: Mapping[str, str] | None = None,
    ) -> None:
        """`port` 0: a free one, remembered in `data_dir`. `cache_dir`: for the jars (`jars.default_cache`).

        `properties` are Kafka's own and win over ours.

        `say` is called before each step that takes long. `which` finds programs.
        """
        self._folder = (data_dir / "kafka").absolute()
        self._cache = (cache_dir or jars.default_cache()).absolute()
        self._say = say
        self._which = which
        self._properties = dict(properties or {})
        self._port = port
        self._port_is_fixed = port != 0
        #: the port of the last start; 0 before the first one
        self.controller_port = 0
        self._lock = FolderLock(self._folder / "lock")
        self._process: BrokerProcess | None = None

    @property
    def pid(self) -> int | None:
        """Java's process id; None if it does not run."""
        return self._process.pid if self._process and self._process.running else None

    async def start(self) -> str:
        """Start unless running; returns `127.0.0.1:PORT` when topics can be created there.

        `Unavailable`: no Java or jars, the folder is in use, the port is taken, or Kafka ended (with its last lines).
        """
        if self.pid is None:
            try:
                await self._start()
            except BaseException as error:
                await self._end_process(patience_s=0)
                self._lock.release()
                if isinstance(error, OSError):
                    raise Unavailable(f"The embedded broker cannot use {self._folder}: {error}") from error
                raise
        return f"{kraft.HOST}:{self._port}"

    async def stop(self) -> None:
        """Shut the broker down, by force after 20 s; does nothing if it does not run."""
        await self._end_process(patience_s=_STOP_S)
        self._lock.release()

    async def wait_exited(self) -> int:
        """Wait until Java has ended, for whatever reason. Returns the exit status, negative for a signal."""
        if self._process is None:
            raise Defect("wait_exited before start")
        return await self._process.exited()

    async def _start(self) -> None:
        java = await jars.find_java(self._which)
        classes = await jars.resolve(self._cache, say=self._say, which=self._which)
        runtime = kraft.Runtime(java=java, jars=classes, cache=self._cache)
        (self._folder / "logs").mkdir(parents=True, exist_ok=True)
        await self._take_folder()
        self._choose_port()
        await kraft.format_once(self._folder, runtime)
        configuration = self._folder / "server.properties"
        self.controller_port = kraft.free_port(besides=self._port)
        text = kraft.properties(port=self._port, controller_port=self.controller_port)
        text += "".join(f"{name}={value}\n" for name, value in self._properties.items())
        configuration.write_text(text, encoding="utf-8")
        command = runtime.command("kafka.Kafka", configuration.name)
        self._process = BrokerProcess(command, folder=self._folder, lock_fd=self._lock.fd)
        try:
            async with asyncio.timeout(_START_S):
                started = await self._process.started()
        except TimeoutError as error:
            raise self._failure(f"has not started within {_START_S} s") from error
        if not started:
            raise self._failure(f"ended with status {await self._process.exited()} while starting")
        self._port_is_fixed = True

    async def _take_folder(self) -> None:
        if await self._lock.acquire(wait_s=0):
            return
        owner = self._lock.owner()
        if owner is None:
            self._say("Waiting for the last broker to end")
            if await self._lock.acquire(wait_s=_PREDECESSOR_S):
                return
        who = f"process {owner}" if owner else "a process that is about to end"
        raise Unavailable(f"{self._folder} is in use by {who}: stop that, or choose another HOOKSTREAM_DATA_DIR")

    def _choose_port(self) -> None:
        if self._port_is_fixed:
            if not kraft.is_free(self._port):
                raise Unavailable(
                    f"Port {self._port} of {kraft.HOST} is taken: free it, or choose another HOOKSTREAM_KAFKA_PORT "
                    "(0 = any)"
                )
            return
        memory = self._folder / "port"
        remembered = memory.read_text(encoding="ascii").strip() if memory.is_file() else ""
        if remembered.isdecimal() and kraft.is_free(int(remembered)):
            self._port = int(remembered)
        else:
            self._port = kraft.free_port()
            memory.write_text(str(self._port), encoding="ascii")

    def _failure(self, what: str) -> Unavailable:
        tail = self._process.tail if self._process else ""
        return Unavailable(f"Kafka {what}. The end of its log:\n{tail}\nIts whole log is in {self._folder / 'logs'}")

    async def _end_process(self, *, patience_s: float) -> None:
        if self._process is None or not self._process.running:
            return
        if patience_s > 0:
            self._process.terminate()
        try:
            async with asyncio.timeout(patience_s):
                await self._process.exited()
        except TimeoutError:
            self._process.kill()
            await self._process.exited()
