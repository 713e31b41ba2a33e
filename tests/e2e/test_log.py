"""At level info the log of a real process tells its life, one JSON object a line, and nothing of its libraries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.conftest import RealBroker
from tests.e2e.harness import ADMIN_TOKEN, inbox
from tests.e2e.test_stops import Starting, event


async def test_the_log_has_each_state_of_the_process(broker: RealBroker, prefix: str, tmp_path: Path) -> None:
    settings = {"HOOKSTREAM_TIME_SCALE": "0.001", "HOOKSTREAM_SMTP_URL": "", "HOOKSTREAM_MAX_IN_FLIGHT": "99"}
    process = Starting(broker.bootstrap, prefix, tmp_path, settings)
    await process.cli("topics", "apply", "-o", "json")
    async with inbox("status:500") as (_, base):
        await process.start()
        try:
            added = await process.add(f"{base}/voxscriber", profile="voxscriber", events="*")
            once = await process.add(f"{base}/standard", schedule="0", events="*")
            mine = added["id"]
            for number in range(3):
                path = tmp_path / f"{number}.json"
                path.write_text(f'{{"type": "a.b", "id": "e{number}", "data": {{}}}}', encoding="utf-8")
                await process.cli("events", "send", str(path))
            await process.until(lambda line: line["event"] == "health.disables" and line["endpoint"] == mine)
            await process.until(event("deliveries.given_up"))
        finally:
            code = await process.stop()
    lines = process.lines()
    assert code == 0 and all({"event", "level", "timestamp"} <= line.keys() for line in lines)

    def one(name: str) -> dict[str, Any]:
        found = [line for line in lines if line["event"] == name]
        assert len(found) == 1, (name, found)
        return found[0]

    started = one("process.started")
    assert lines[0] == started and started["version"] and "dispatch" in started["roles"]
    assert started["settings"]["HOOKSTREAM_MAX_IN_FLIGHT"] == "99"
    assert started["settings"]["HOOKSTREAM_ADMIN_TOKEN"] == started["settings"]["HOOKSTREAM_SECRET_KEYS"] == "***"
    assert "HOOKSTREAM_LOG_FORMAT" not in started["settings"], "a default"
    assert one("process.ready")["after_s"] > 0
    groups = {line["group"]: line["partitions"] for line in lines if line["event"] == "partitions.assigned"}
    roles = ("fanout", "sequencer", "health", "dispatch", "delay", "registry", "notifier", "projection")
    assert groups.keys() >= {f"{prefix}hookstream.{role}" for role in roles}
    assert groups[f"{prefix}hookstream.dispatch"] == {f"{prefix}deliveries": "0-3"}
    assert any(line["event"] == "endpoint.failing" and line["endpoint"] == mine for line in lines)
    given_up = next(line for line in lines if line["event"] == "deliveries.given_up")
    assert given_up["count"] >= 1 and given_up["example"]["endpoint"] == once["id"] and given_up["reason"]
    assert one("process.stopping") and lines[-1] == one("process.stopped")

    text = process.path.read_text()
    assert ADMIN_TOKEN not in text and "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY" not in text
    assert [line for line in lines if line["level"] in ("error", "critical")] == []


async def test_a_ring_with_the_same_id_and_other_bytes_is_named(
    broker: RealBroker, prefix: str, tmp_path: Path
) -> None:
    other = {"HOOKSTREAM_SECRET_KEYS": "t1:ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="}
    first = Starting(broker.bootstrap, prefix, tmp_path)
    stranger = Starting(broker.bootstrap, prefix, tmp_path / "stranger", other)
    stranger.data_dir.mkdir()
    stranger.roles = ("delay",)
    await first.cli("topics", "apply", "-o", "json")
    await first.start()
    try:
        await stranger.start()
        added = await first.add("http://127.0.0.1:9/hook", events="*")
        line = await stranger.until(event("keyring.differs"))
        assert added["id"] in line["reason"] and "does not open with key t1" in line["reason"]
        await stranger.until_role(lambda roles: "the same HOOKSTREAM_SECRET_KEYS" in roles["directory"])
        assert (await stranger.readiness())[0] == 503
        refusal = await stranger.cli("endpoints", "add", "http://127.0.0.1:9/other", "--events", "*", expect=3)
        assert "another key ring" in refusal
        assert (await first.readiness())[0] == 200
        await first.cli("endpoints", "remove", added["id"])
    finally:
        assert await first.stop() == 0
        if stranger.alive:
            assert await stranger.stop() == 0
