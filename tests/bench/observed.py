"""The service's command, observed: it counts its requests to Kafka.

At SIGUSR1 it writes an `Observation` of the time since the last one to the file that BENCH_OBSERVATION names.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import msgspec

from app.adapters.kafka.connections import BrokerConnection
from app.cli.main import main


class Sent(msgspec.Struct):
    """The requests of one kind: how many, their bytes, and the partitions that they named."""

    number: int = 0
    bytes: int = 0
    partitions: int = 0


class Observation(msgspec.Struct):
    """What one process has done since the observation before."""

    cpu_s: float
    #: by kind of request
    requests: dict[str, Sent]


class _CountingWriter:
    """A connection's writer that adds up the bytes of its requests."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer
        self.sent = Sent()

    def write(self, data: bytes) -> None:
        self.sent.bytes += len(data)
        self._writer.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)


class _Observer:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._requests: dict[str, Sent] = {}
        self._cpu_s = time.process_time()

    def install(self) -> None:
        send, observer = BrokerConnection.send, self

        def counted(connection: Any, request: Any, expect_response: bool = True) -> Any:
            kind = type(request).__name__.removesuffix("Request").strip("_") or "other"
            sent = observer._requests.setdefault(kind, Sent())
            sent.number += 1
            topics = getattr(request, "_topics", None) or ()
            sent.partitions += sum(len(each[1]) for each in topics if isinstance(each, tuple))
            if connection._writer is not None and not isinstance(connection._writer, _CountingWriter):
                connection._writer = _CountingWriter(connection._writer)
            if connection._writer is not None:
                connection._writer.sent = sent
            return send(connection, request, expect_response)

        setattr(BrokerConnection, "send", counted)  # noqa: B010 - typed, it would have to be a method
        signal.signal(signal.SIGUSR1, self.write)

    def write(self, *_: object) -> None:
        """Write what happened since the last call, and begin anew."""
        spent_s = time.process_time() - self._cpu_s
        beside = self._path.with_suffix(".new")
        beside.write_bytes(msgspec.json.encode(Observation(spent_s, self._requests)))
        beside.rename(self._path)
        self._requests = {}
        self._cpu_s = time.process_time()


if __name__ == "__main__":
    _Observer(Path(os.environ["BENCH_OBSERVATION"])).install()
    main()
