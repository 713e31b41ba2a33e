"""The gauges of a process's own state."""

from __future__ import annotations

import msgspec

from app.adapters.telemetry.metrics import PrometheusMeter
from app.core.model.endpoint import Endpoint
from app.core.model.replay import Replay
from app.core.offsets.progress import PartitionProgress, RoleReport
from app.runtime.state_gauges import StateGauges
from app.runtime.supervisor import Role
from tests.fakes.feed import MemoryFeed

ENDPOINT = Endpoint(id="ep_1", tenant="acme", mode="live", url="https://a.example", events=("*",), profile="standard")
REPLAY = Replay(id="rpl", tenant="acme", mode="live", endpoint_id="", reason="replay", begin={}, end={})


class ReportingRole:
    """A role with a fixed report."""

    def __init__(self, report: RoleReport) -> None:
        self._report = report

    async def run(self) -> None: ...

    def ready(self) -> str | None:
        return None

    def report(self) -> RoleReport:
        return self._report


def test_the_gauges_agree_with_readyz() -> None:
    meter = PrometheusMeter()
    places = {("deliveries", 0): PartitionProgress(1), ("deliveries", 1): PartitionProgress(1)}
    running: dict[str, Role] = {
        "dispatch": ReportingRole(RoleReport(places)),
        "delay": ReportingRole(RoleReport(places, assigned=8)),
        "fanout": ReportingRole(RoleReport(settling="recovering tables", unrecovered=42)),
    }
    feed = MemoryFeed(ENDPOINT)
    for number, state in enumerate(("running", "running", "done")):
        feed.directory.put_replay(msgspec.structs.replace(REPLAY, id=f"rpl_{number}", state=state))
    StateGauges(
        meter,
        lambda: {"kafka": None, "fanout": "recovering tables", "dispatch": None},
        running.get,
        feed,
        ("fanout", "dispatch", "delay", "notifier", "api"),
    ).set()
    lines = meter.exposition().decode().splitlines()
    for line in (
        'hookstream_ready{check="kafka"} 1.0',
        'hookstream_ready{check="fanout"} 0.0',
        'hookstream_partitions_assigned{role="dispatch"} 2.0',
        'hookstream_partitions_assigned{role="fanout"} 0.0',
        'hookstream_partitions_assigned{role="delay"} 8.0',
        'hookstream_partitions_assigned{role="notifier"} 0.0',
        'hookstream_table_recovery_records{role="fanout"} 42.0',
        'hookstream_table_recovery_records{role="dispatch"} 0.0',
        'hookstream_role_settling{role="dispatch"} 0.0',
        'hookstream_role_settling{role="fanout"} 1.0',
        'hookstream_role_settling{role="delay"} 0.0',
        'hookstream_role_settling{role="notifier"} 1.0',
        'hookstream_endpoints{state="active"} 1.0',
        'hookstream_replays{state="running"} 2.0',
        'hookstream_replays{state="pending"} 0.0',
    ):
        assert line in lines
    assert not any('role="api"' in line for line in lines), "it has no consumer group"
