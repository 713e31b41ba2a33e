"""The service's command, observed: it counts its requests to Kafka.

At SIGUSR1 it writes an `Observation` of the time since the last one to the file that BENCH_OBSERVATION names.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from app.adapters.kafka.connections import BrokerConnection
from app.cli.main import main


class Observation(msgspec.Struct):
    """What one process has done since the observation before."""

    cpu_s: float
    #: kind of request → number
    requests: dict[str, int]


class _Observer:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._requests: Counter[str] = Counter()
        self._cpu_s = time.process_time()

    def install(self) -> None:
        send, observer = BrokerConnection.send, self

        def counted(connection: Any, request: Any, expect_response: bool = True) -> Any:
            observer._requests[type(request).__name__.removesuffix("Request")] += 1
            return send(connection, request, expect_response)

        setattr(BrokerConnection, "send", counted)  # noqa: B010 - typed, it would have to be a method
        signal.signal(signal.SIGUSR1, self.write)

    def write(self, *_: object) -> None:
        """Write what happened since the last call, and begin anew."""
        spent_s = time.process_time() - self._cpu_s
        beside = self._path.with_suffix(".new")
        beside.write_bytes(msgspec.json.encode(Observation(spent_s, dict(self._requests))))
        beside.rename(self._path)
        self._requests.clear()
        self._cpu_s = time.process_time()


if __name__ == "__main__":
    _Observer(Path(os.environ["BENCH_OBSERVATION"])).install()
    main()
