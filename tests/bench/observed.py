"""The service's command, observed: it counts its requests to Kafka, and may sample where its CPU time goes.

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
from tests.bench.sampling import Samples


class Observation(msgspec.Struct):
    """What one process has done since the observation before."""

    cpu_s: float
    #: kind of request → number
    requests: dict[str, int]
    #: shares of CPU time, as text
    profile: str = ""


class _Observer:
    def __init__(self, path: Path, profile: bool) -> None:
        self._path, self._profile = path, profile
        self._requests: Counter[str] = Counter()
        self._cpu_s = time.process_time()
        self._samples = Samples()

    def install(self) -> None:
        send, observer = BrokerConnection.send, self

        def counted(connection: Any, request: Any, expect_response: bool = True) -> Any:
            observer._requests[type(request).__name__.removesuffix("Request")] += 1
            return send(connection, request, expect_response)

        setattr(BrokerConnection, "send", counted)  # noqa: B010 - typed, it would have to be a method
        signal.signal(signal.SIGUSR1, self.write)
        if self._profile:
            signal.signal(signal.SIGPROF, lambda number, frame: self._samples.take(number, frame))
            signal.setitimer(signal.ITIMER_PROF, 0.001, 0.001)

    def write(self, *_: object) -> None:
        """Write what happened since the last call, and begin anew."""
        spent_s = time.process_time() - self._cpu_s
        events = int(os.environ.get("BENCH_EVENTS", "1000"))
        text = self._samples.text(events, spent_s) if self._profile else ""
        beside = self._path.with_suffix(".new")
        beside.write_bytes(msgspec.json.encode(Observation(spent_s, dict(self._requests), text)))
        beside.rename(self._path)
        self._requests.clear()
        self._samples, self._cpu_s = Samples(), time.process_time()


if __name__ == "__main__":
    _Observer(Path(os.environ["BENCH_OBSERVATION"]), "BENCH_PROFILE" in os.environ).install()
    main()
