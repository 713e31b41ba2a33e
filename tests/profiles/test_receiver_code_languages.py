"""The code for receivers in the languages whose tools are not installed by scripts/bootstrap: where a tool is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.profiles.catalog import PROFILES
from app.profiles.contract import Profile
from app.profiles.receiver_code.snippets import snippets
from tests.receivers.verify_programs import TOOLCHAINS, wrong_answers
from tests.receivers.verify_requests import requests_of

#: a profile whose signature is of its own kind has no code
WITH_CODE = {name: profile for name, profile in PROFILES.items() if snippets(profile)}


@pytest.mark.parametrize("profile", WITH_CODE.values(), ids=WITH_CODE)
def test_it_verifies_what_third_parties_sign(
    profile: Profile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    requests, wrong = requests_of(profile), {}
    for each in snippets(profile):
        if each.language in ("python", "node"):
            continue
        if missing := TOOLCHAINS[each.language].missing:
            with capsys.disabled():
                print(f"\n{profile.name}: {each.title} was not run, for lack of {' and '.join(missing)}")
            continue
        (folder := tmp_path / each.language).mkdir()
        wrong[each.title] = wrong_answers(each, requests, folder)
    assert not any(wrong.values()), wrong
