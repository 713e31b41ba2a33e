"""The plan of restarts and kills leaves each process a long life, and each shift a quiet begin."""

from __future__ import annotations

from random import Random

import pytest

from tests.faults.faults import FAULTS, ROLES
from tests.soak.disturbances import QUIET_S, plan


@pytest.mark.parametrize("seed", range(20))
def test_each_process_is_disturbed_and_has_half_of_an_hour_without(seed: int) -> None:
    made = plan(ROLES, 3600, 600, Random(seed))
    assert {each.fault.split(" ", 1)[1] for each in made} == set(ROLES)
    for name in ROLES:
        ats = [each.at for each in made if each.fault.endswith(f" {name}")]
        assert max(ats) < 1800 or min(ats) >= 1800
    assert 0 < sum(each.fault.startswith("kill ") for each in made) < len(made) / 2
    assert FAULTS.keys() >= {each.fault for each in made}


@pytest.mark.parametrize("minutes", [1, 3, 22, 60, 600])
def test_a_shift_begins_quietly(minutes: int) -> None:
    load_s = minutes * 60.0
    shift_s = load_s / max(1, round(minutes / 10))
    made = plan(ROLES, load_s, shift_s, Random(minutes))
    assert made
    assert all(each.at % shift_s >= QUIET_S - 0.001 for each in made)
    assert [each.at for each in made] == sorted(each.at for each in made)
