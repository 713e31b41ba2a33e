"""`hookstream` with something broken inside: python -m tests.e2e.bad_workers WHAT ARGUMENTS…"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable

from msgspec import structs

from app.cli.main import main
from app.ports.stream import StreamBatch
from app.roles.fanout.role import FanoutRole
from app.runtime.build.shared import Shared
from app.runtime.process import Process
from app.runtime.roles import ROLES
from app.runtime.supervisor import Role


def blocked_loop() -> None:
    """After the start something in the event loop waits, and does not give the loop back."""
    start = Process.start

    def hold_the_loop() -> None:
        time.sleep(600)

    async def then_block(process: Process) -> None:
        await start(process)
        asyncio.get_running_loop().call_soon(hold_the_loop)

    Process.start = then_block  # type: ignore[method-assign,assignment]


def frozen_fanout() -> None:
    """Fan-out takes a batch and never comes back."""
    spec = ROLES["fanout"]

    async def never(_batch: StreamBatch) -> None:
        await asyncio.get_running_loop().create_future()

    def frozen(shared: Shared) -> Role:
        role = spec.build(shared)
        assert isinstance(role, FanoutRole)
        role._handle = never  # type: ignore[method-assign,assignment]
        return role

    ROLES["fanout"] = structs.replace(spec, build=frozen)


def failing_fanout() -> None:
    """Fan-out fails as soon as there is an event."""

    async def fail(_role: FanoutRole, _batch: StreamBatch) -> None:
        raise RuntimeError("this one was broken on purpose")

    FanoutRole._handle = fail  # type: ignore[method-assign,assignment]


BROKEN: dict[str, Callable[[], None]] = {
    "blocked-loop": blocked_loop,
    "frozen-fanout": frozen_fanout,
    "failing-fanout": failing_fanout,
}

if __name__ == "__main__":
    BROKEN[sys.argv.pop(1)]()
    main()
