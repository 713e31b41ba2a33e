"""An endpoint may be paused and disabled for ever, with 1,000 partitions: its state stays below a record's limit."""

from __future__ import annotations

import msgspec

from app.core.directory import Directory
from app.core.model.endpoint import Endpoint
from app.core.records import command as command_record
from app.core.records import registry
from app.core.records.command import CommandAction
from app.profiles.catalog import PROFILES
from app.roles.registry import decisions as registry_
from app.roles.registry.role import _MAX_STATE_BYTES
from app.roles.registry.suspensions import MAX_SUSPENSION_OFFSETS, MAX_SUSPENSIONS

PARTITIONS = 1_000
#: a log that has had so many records in each partition
OFFSET = 987_654_321_000


def _places(at: int, partitions: int) -> dict[int, int]:
    return {number: OFFSET + at * 1000 + number for number in range(partitions)}


class Life:
    """One endpoint, and commands for it."""

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self.where = Directory()
        self.at = 0
        endpoint = Endpoint(
            id="ep_1",
            tenant="acme",
            mode="live",
            url="https://x.example/hook",
            events=("*",),
            profile="standard",
        )
        registry.apply(self.where, "endpoint/ep_1", registry.encode(endpoint))

    def do(self, action: CommandAction) -> None:
        command = command_record.Command(id="c", issued_at_ms=1, action=action)
        for change in registry_.decide(command, self.where, self.at, PROFILES):
            value = registry.encode(change.value)
            assert value is None or len(value) <= _MAX_STATE_BYTES, change.key
            registry.apply(self.where, change.key, value)

    def cycle(self, status: str) -> None:
        """Suspend it and let it go on."""
        self.at += 1
        begin, end = _places(self.at, self._partitions), _places(self.at + 1, self._partitions)
        action = command_record.SuspendEndpoint(id="ep_1", status=status, begin=begin, dead_begin=OFFSET)  # type: ignore[arg-type]
        self.do(action)
        assert self.endpoint.status == status
        self.do(command_record.ReactivateEndpoint(id="ep_1", end=end, replay_id=f"rpl_{self.at}"))
        self.do(command_record.CancelReplay(f"rpl_{self.at}")) if status == "paused" else None
        self.do(command_record.CloseSuspension("ep_1", end))
        assert self.endpoint.status == "active"

    @property
    def endpoint(self) -> Endpoint:
        endpoint = self.where.endpoint("ep_1")
        assert endpoint is not None
        return endpoint


def test_many_holds_of_a_thousand_partitions_fit() -> None:
    life = Life(PARTITIONS)
    life.cycle("disabled")
    for _ in range(30):
        life.cycle("paused")
    kinds = [suspension.kind for suspension in life.endpoint.suspensions]
    assert kinds == ["disabled", "paused", "paused", "paused"], "the newest, and the disablement that can be recovered"
    assert (
        sum(len(suspension.begin) + len(suspension.end or {}) for suspension in life.endpoint.suspensions)
        <= MAX_SUSPENSION_OFFSETS
    )
    life.do(command_record.RecoverEndpoint("ep_1", "rpl_recover"))
    assert life.where.replays["rpl_recover"].begin == _places(1, PARTITIONS)
    for _ in range(10):
        life.cycle("disabled")
    assert [suspension.since_ms for suspension in life.endpoint.suspensions] == [38, 39, 40, 41]


def test_with_few_partitions_the_latest_suspensions_are_stored() -> None:
    life = Life(12)
    for number in range(20):
        life.cycle("disabled" if number % 5 == 0 else "paused")
    assert [suspension.since_ms for suspension in life.endpoint.suspensions] == list(range(21 - MAX_SUSPENSIONS, 21))
    assert msgspec.json.decode(registry.encode(life.endpoint) or b"", type=Endpoint) == life.endpoint
