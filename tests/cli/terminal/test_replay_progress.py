"""The command that waits for a replay: until it has ended, also while the service starts again."""

from __future__ import annotations

from typing import Any, cast

import pytest

from app.adapters.http.api_client import ApiClient
from app.cli.terminal import replay_progress
from app.core.errors import Unavailable
from tests.fakes.clock import FakeClock


class Answers:
    """`ApiClient.get`, one answer after the other."""

    def __init__(self, *answers: dict[str, Any] | None) -> None:
        self._answers = list(answers)

    async def get(self, *path: str) -> dict[str, Any]:
        assert path == ("replays", "rpl")
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if answer is None:
            raise Unavailable("the service is starting again")
        return answer


def replay(state: str, read: int = 0) -> dict[str, Any]:
    return {"id": "rpl", "state": state, "sent": read, "progress": {"read": read, "of": 9}}


async def follow(*answers: dict[str, Any] | None) -> dict[str, Any]:
    clock = FakeClock()
    clock.auto = True
    return await replay_progress.follow(cast(ApiClient, Answers(*answers)), replay("pending"), clock)


@pytest.mark.parametrize("end", ["done", "cancelled", "paused"])
async def test_following_a_replay_survives_a_restart(end: str) -> None:
    silence = [None] * 100
    assert await follow(replay("running", 3), *silence, replay("running", 5), *silence, replay(end, 9)) == replay(
        end, 9
    )


async def test_following_a_replay_is_bounded() -> None:
    with pytest.raises(Unavailable):
        await follow(replay("running"), None)


async def test_remarks_go_to_people_not_into_the_output(capsys: pytest.CaptureFixture[str]) -> None:
    replay_progress.say(replay("pending") | {"messages": ["begins there"]})
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "note: begins there\n")
