"""Rights that change: each change is logged once, and readers are replaced when they may read again."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka.errors import KafkaError
from structlog.testing import capture_logs

from app.adapters.kafka import rights_watch
from app.adapters.kafka.rights_watch import RightsWatch
from app.core.rights import KafkaRight
from tests.kafka import clients_at

READ = KafkaRight(resource="topic", name="deliveries", operation="Read")
WRITE = KafkaRight(resource="topic", name="attempts", operation="Write")
SETTINGS = KafkaRight(resource="topic", name="attempts", operation="DescribeConfigs")
CLIENT: Any = None


class Stage:
    """A watch, and what Kafka refuses."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.refused: set[KafkaRight] | Exception = set()
        self.readable: list[str] = []
        monkeypatch.setattr(rights_watch, "surely_refused", self._answer)
        needed = {"dispatch": {READ, WRITE, SETTINGS}, "api": {WRITE}}
        self.watch = RightsWatch(clients_at("127.0.0.1:9"), needed, self.readable.append)

    async def _answer(self, client: Any, rights: object) -> set[KafkaRight]:
        if isinstance(self.refused, Exception):
            raise self.refused
        return self.refused

    async def look(self, *refused: KafkaRight) -> list[tuple[str, str]]:
        """One check; the event and the role of each line of the log."""
        self.refused = set(refused)
        with capture_logs() as logs:
            await self.watch.look(CLIENT)
        return [(each["event"], each["role"]) for each in logs]


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(monkeypatch)


async def test_each_change_is_logged_once(stage: Stage) -> None:
    assert await stage.look() == []
    assert await stage.look(WRITE) == [("rights.missing", "dispatch"), ("rights.missing", "api")]
    assert await stage.look(WRITE) == []
    assert await stage.look(WRITE, READ) == [("rights.missing", "dispatch")]
    assert await stage.look() == [("rights.complete", "dispatch"), ("rights.complete", "api")]


async def test_a_role_names_its_trouble(stage: Stage) -> None:
    await stage.look(READ)
    trouble = stage.watch.trouble("dispatch")
    assert trouble is not None and "Kafka refuses user ANONYMOUS Read on topic deliveries" in trouble
    assert stage.watch.obstacle("dispatch") == trouble and stage.watch.urgent
    assert stage.watch.trouble("api") is None and stage.watch.obstacle("api") is None


async def test_unseen_settings_are_no_trouble(stage: Stage) -> None:
    assert await stage.look(SETTINGS) == [("rights.incomplete", "dispatch")]
    assert stage.watch.trouble("dispatch") is None
    assert stage.watch.lacking({READ, WRITE}) is None


async def test_what_all_roles_need_is_lacking(stage: Stage) -> None:
    await stage.look(WRITE)
    assert stage.watch.lacking({READ}) is None
    assert "Write on topic attempts" in (stage.watch.lacking({WRITE}) or "")


async def test_only_who_could_not_read_is_replaced(stage: Stage) -> None:
    await stage.look(WRITE)
    await stage.look()
    assert stage.readable == []
    await stage.look(READ, WRITE)
    await stage.look(WRITE)
    assert stage.readable == ["dispatch"]


async def test_without_an_answer_the_last_result_holds(stage: Stage) -> None:
    await stage.look(READ)
    stage.refused = KafkaError("no broker is known")
    await stage.watch.look(CLIENT)
    assert stage.watch.trouble("dispatch") is not None


async def test_an_unreadable_answer_is_logged_once_and_is_no_trouble(stage: Stage) -> None:
    stage.refused = ValueError("not what was asked for")
    with capture_logs() as logs:
        await stage.watch.look(CLIENT)
        await stage.watch.look(CLIENT)
    assert [each["event"] for each in logs if each["log_level"] == "error"] == ["rights.failed"]
    assert not stage.watch.urgent


@pytest.mark.parametrize("answer", [set(), KafkaError("no broker is known"), ValueError("unreadable")])
async def test_a_refused_request_holds_starts_until_the_next_check(
    stage: Stage, answer: set[KafkaRight] | Exception
) -> None:
    stage.watch.suspect()
    assert stage.watch.urgent and stage.watch.obstacle("api") is not None and stage.watch.trouble("api") is None
    stage.refused = answer
    await stage.watch.look(CLIENT)
    assert not stage.watch.urgent and stage.watch.obstacle("api") is None
