"""A request about a group waits for the topic of offsets, and not for ever."""

from __future__ import annotations

import pytest
from aiokafka.errors import GroupCoordinatorNotAvailableError

from app.adapters.kafka import coordinators


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coordinators, "_PAUSE_S", 0)


class Coordinator:
    """Answers from the `ready`-th request on."""

    def __init__(self, ready: int) -> None:
        self.requests = 0
        self._ready = ready

    async def ask(self) -> str:
        self.requests += 1
        if self.requests < self._ready:
            raise GroupCoordinatorNotAvailableError
        return "answer"


async def test_a_request_is_repeated_until_there_is_a_coordinator() -> None:
    coordinator = Coordinator(ready=3)
    assert await coordinators.with_coordinator(coordinator.ask) == "answer"
    assert coordinator.requests == 3


async def test_the_error_is_raised_if_there_is_never_one() -> None:
    coordinator = Coordinator(ready=1000)
    with pytest.raises(GroupCoordinatorNotAvailableError):
        await coordinators.with_coordinator(coordinator.ask)
    assert coordinator.requests == 10
