"""Java's command line, the broker's configuration, the formatting of its folder, and its ports."""

from __future__ import annotations

import base64
import hashlib
import secrets
import shutil
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.core.errors import Unavailable
from app.embedded.broker.process import run_to_end

HOST = "127.0.0.1"

_HERE = Path(__file__).parent
_RECORDS = "records"
_FORMAT_S = 60
#: Below the ephemeral ports (Linux from 32768, macOS from 49152). While the broker is down, a client that reconnects
#: could otherwise be assigned the broker's own port.
_PORTS = range(20_000, 30_000)


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """A Java executable and Kafka's jars."""

    java: Path
    jars: Sequence[Path]
    cache: Path

    @property
    def archive(self) -> Path:
        """The class data archive (CDS) for exactly this Java and these jars."""
        stat = self.java.stat()
        key = f"{self.java} {stat.st_size} {stat.st_mtime_ns} {self.jars[0].parent}"
        return self.cache / f"classes-{hashlib.sha256(key.encode()).hexdigest()[:12]}.jsa"

    def command(self, main: str, *arguments: str, archive_to: Path | None = None) -> list[str]:
        """The command line for the class `main`, which logs to `logs` below the working folder.

        `archive_to`: the file to which the class archive is written.
        """
        classes = [f"-XX:ArchiveClassesAtExit={archive_to}"] if archive_to else []
        if not classes and self.archive.is_file():
            classes = [f"-XX:SharedArchiveFile={self.archive}"]  # ignored by Java if it does not fit
        return [
            str(self.java),
            "-Xms64m",
            "-Xmx512m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-XX:-UsePerfData",
            "-XX:+ExitOnOutOfMemoryError",
            "-XX:ErrorFile=logs/java-crash.log",
            "-Xlog:disable",
            "-Xlog:all=error:stderr",
            *classes,
            "-Dhookstream.logs=logs",
            f"-Dlog4j2.configurationFile={_HERE / 'log4j2.properties'}",
            "-cp",
            ":".join(map(str, self.jars)),
            main,
            *arguments,
        ]


def properties(*, port: int, controller_port: int, records: str = _RECORDS) -> str:
    """The broker's configuration; `records` is relative to the broker's folder, which is its working folder."""
    controller = f"{HOST}:{controller_port}"
    return "\n".join(
        [
            (_HERE / "kraft.properties").read_text(encoding="utf-8"),
            f"log.dirs={records}",
            f"listeners=BROKER://{HOST}:{port},CONTROLLER://{controller}",
            f"controller.quorum.voters=1@{controller}",
            "",
        ]
    )


async def format_once(folder: Path, runtime: Runtime) -> None:
    """Create the folder of the records atomically, unless it is complete already.

    Raises `Unavailable` if the folder has records but no `meta.properties`, since deleting them is the user's decision.
    """
    records = folder / _RECORDS
    if _formatted(records):
        return
    if records.is_dir() and any(entry.is_dir() for entry in records.iterdir()):
        raise Unavailable(
            f"{records} has records but no valid meta.properties: restore that file or move the folder away"
        )
    fresh = folder / f"{_RECORDS}.new"
    for leftover in (records, fresh):
        shutil.rmtree(leftover, ignore_errors=True)
    configuration = folder / "format.properties"
    configuration.write_text(
        properties(port=_PORTS[0], controller_port=_PORTS[1], records=fresh.name), encoding="utf-8"
    )
    cluster = base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")
    arguments = ["format", f"--cluster-id={cluster}", f"--config={configuration.name}"]
    command = runtime.command("kafka.tools.StorageTool", *arguments)
    status, output = await run_to_end(command, folder=folder, timeout_s=_FORMAT_S)
    if status != 0 or not _formatted(fresh):
        raise Unavailable(f"Kafka could not format {records}:\n{output.strip()[-2000:]}")
    fresh.rename(records)
    configuration.unlink()


def _formatted(records: Path) -> bool:
    try:
        lines = (records / "meta.properties").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return False
    return "version=1" in lines and any(line.startswith("cluster.id=") for line in lines)


def is_free(port: int) -> bool:
    """Whether a server can listen on the port of the loopback address now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_port(*, besides: int = 0) -> int:
    """A free port of the loopback address, other than `besides`. Raises `Unavailable`."""
    start = secrets.randbelow(len(_PORTS))
    for step in range(len(_PORTS)):
        port = _PORTS[(start + step) % len(_PORTS)]
        if port != besides and is_free(port):
            return port
    raise Unavailable(f"No free port from {_PORTS.start} to {_PORTS.stop}")
