"""`hookstream groups`: which roles' offsets may be reset, and what is refused before anything is written."""

from __future__ import annotations

import pytest
from typer import BadParameter

from app.adapters.kafka.groups import GroupStanding
from app.cli.commands import groups
from app.core.errors import CommandRefused, ConfigError
from app.core.offsets.resets import OffsetReset
from app.runtime.roles import GROUPS

BACK = OffsetReset(topic="events.raw", partition=0, current=9, target=4)
FORTH = OffsetReset(topic="events.raw", partition=0, current=4, target=9)


def standing(*members: str) -> GroupStanding:
    return GroupStanding(group="hookstream.fanout", state="Stable", members=members, partitions=())


def test_every_group_may_be_reset_or_says_why_not() -> None:
    assert {*groups.RESETTABLE} | {*groups.REFUSED} == {*GROUPS}
    assert not {*groups.RESETTABLE} & {*groups.REFUSED}


@pytest.mark.parametrize("role", groups.REFUSED)
def test_a_role_that_must_not_be_reset_says_what_to_do(role: str) -> None:
    with pytest.raises(CommandRefused, match=role):
        groups._check_resettable(role)


def test_an_unknown_role_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="fanout, dispatch, notifier"):
        groups._check_resettable("fan-out")
    with pytest.raises(BadParameter, match="projection"):
        groups._with_group("fan-out")


def test_a_group_with_members_is_refused_and_the_members_are_named() -> None:
    with pytest.raises(CommandRefused, match=r"2 members \(hookstream-fanout 10\.0\.0\.1, b 10\.0\.0\.2\)"):
        groups._check_possible("fanout", standing("hookstream-fanout 10.0.0.1", "b 10.0.0.2"), [BACK], True)
    groups._check_possible("fanout", standing(), [BACK], False)


def test_records_are_skipped_only_on_request() -> None:
    with pytest.raises(CommandRefused, match=r"5 records .* --allow-skip"):
        groups._check_possible("fanout", standing(), [FORTH], False)
    groups._check_possible("fanout", standing(), [FORTH], True)


@pytest.mark.parametrize("text", ["yesterday", "2026-01-31", "2026-01-31T08:00:00", ""])
def test_a_time_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(BadParameter, match="--to-datetime"):
        groups._moment(text)
