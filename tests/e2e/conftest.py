"""One running service for the tests of a file that only need different tenants."""

from __future__ import annotations

import subprocess
import time
import urllib.request
from collections.abc import Iterator
from secrets import token_hex

import pytest

from tests.conftest import RealBroker
from tests.e2e.harness import HOOKSTREAM, Service
from tests.patience import LOOKS, PATIENCE_S


@pytest.fixture(scope="module")
def shared(broker: RealBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """`hookstream run all`, ready; it outlives event loops, so it is started and stopped without one."""
    patient = {"HOOKSTREAM_SESSION_TIMEOUT": "30"}  # it is never killed; on a busy machine heartbeats may be late
    running = Service(broker.bootstrap, f"s{token_hex(3)}.", tmp_path_factory.mktemp("shared"), patient)
    subprocess.run([HOOKSTREAM, "topics", "apply"], env=running.environ, check=True, capture_output=True)
    with subprocess.Popen([HOOKSTREAM, "run", "all"], env=running.environ, start_new_session=True) as process:
        try:
            _until_ready(f"{running.api_url}/readyz", process)
            yield running
        finally:
            process.terminate()
            assert process.wait(PATIENCE_S) == 0


def _until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(LOOKS):
        assert process.poll() is None, "the service has ended"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                if answer.status == 200:
                    return
        except OSError:  # among them an answer that does not come in time
            pass
        time.sleep(0.1)  # a foreign process leaves no other way than to ask again
    raise AssertionError("the service was not ready in time")
