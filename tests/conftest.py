"""What every test may use: a real broker, names of its own on it, and an environment without our settings."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
from collections.abc import Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import settings

from app.core.errors import Defect
from app.embedded.broker.broker import EmbeddedBroker
from app.embedded.broker.jars import default_cache
from tests.postgres import Postgres

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in the background of a shell; children inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No test judges by the clock: a slow machine makes no example wrong.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

#: A Kafka to test with instead of one of our own; read before `clean_environ` hides it.
GIVEN_BROKER = os.environ.get("HOOKSTREAM_TEST_BOOTSTRAP_SERVERS")
JAR_CACHE = default_cache(os.environ.get("XDG_CACHE_HOME"))

T = TypeVar("T")

#: a test with it has used the real broker
BROKER_USER = ("broker", "real")


@dataclass
class RealBroker:
    """A running Kafka; `own` is what to attack, and is missing where the broker was given to us."""

    bootstrap: str
    own: EmbeddedBroker | None = None

    def kill(self) -> None:
        """SIGKILL to the broker."""
        if self.own is None or self.own.pid is None:
            raise Defect("only a running broker of our own can be killed: use the fixture own_broker")
        os.kill(self.own.pid, signal.SIGKILL)

    async def restart(self) -> None:
        """Start it again on the same port, after the end of what may still run."""
        if self.own is None:
            raise Defect("only a broker of our own can be restarted: use the fixture own_broker")
        await self.own.stop()
        assert await self.own.start() == self.bootstrap


def apart(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end on another thread's loop: fixtures that outlive a test cannot use the test's."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def _broker(data_dir: Path, properties: Mapping[str, str] | None = None) -> Iterator[RealBroker]:
    own = EmbeddedBroker(data_dir=data_dir, cache_dir=JAR_CACHE, properties=properties or {})
    try:
        yield RealBroker(apart(own.start()), own)
    finally:
        apart(own.stop())


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealBroker]:
    """The broker that all tests share; use `prefix` on it, and leave it running."""
    if GIVEN_BROKER:
        yield RealBroker(GIVEN_BROKER)
    else:
        # It is never killed; on a busy machine its heartbeats may be late by more than the usual 3 s.
        yield from _broker(tmp_path_factory.mktemp("broker"), {"broker.session.timeout.ms": "60000"})


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[RealBroker]:
    """A fresh broker for one test to kill and restart."""
    yield from _broker(tmp_path)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The PostgreSQL that all tests share; take a database of it."""
    server = Postgres()
    try:
        server.create()
        apart(server.start())
        yield server
    finally:
        server.remove()


@pytest.fixture
def prefix() -> str:
    """A prefix for topics and groups that no other test uses."""
    return f"t{secrets.token_hex(3)}."


@pytest.fixture(autouse=True)
def clean_environ(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the developer's machine reaches a test."""
    for name in [name for name in os.environ if name.startswith("HOOKSTREAM_")]:
        monkeypatch.delenv(name)


def pytest_runtest_call(item: pytest.Item) -> None:
    if {"broker", "own_broker", "starts_a_broker"} & set(getattr(item, "fixturenames", ())):
        item.user_properties.append(BROKER_USER)  # travels with the report, also from another process


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    users = {
        report.nodeid
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "call" and BROKER_USER in report.user_properties
    }
    terminalreporter.write_line(f"{len(users)} tests used the real broker")
