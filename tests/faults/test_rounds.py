"""The short version of `make test-faults`: some rounds of the same faults, with a seed that is never the same."""

from __future__ import annotations

import logging
import secrets
from pathlib import Path

import pytest

from tests.faults import report
from tests.faults.cluster import Cluster
from tests.faults.rounds import Stage

ROUNDS = (
    ("kill dispatch", "kill fanout"),
    ("three workers",),
    ("broker killed", "kill sequencer"),
)


@pytest.fixture
def starts_a_broker() -> None:
    """The mark by which the tests with a real broker are counted."""


@pytest.mark.usefixtures("starts_a_broker")
async def test_nothing_breaks_in_some_rounds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # the test's own clients, while the broker is away
    stage = Stage(Cluster(tmp_path))
    await stage.start()
    try:
        seed = secrets.randbelow(10**8)
        for number, faults in enumerate(ROUNDS):
            played = await stage.play(seed + number, faults)
            with capsys.disabled():
                print("\n" + report.line(played, number + 1, len(ROUNDS)), end="")
            assert played.verdict.broken == [], f"seed {played.seed}, faults {faults}"
            assert played.verdict.events >= 600 and played.verdict.lost == 0
    finally:
        await stage.stop()
