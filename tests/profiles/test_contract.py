"""What every profile promises, and what each one's document says about its policy."""

from __future__ import annotations

import json
from base64 import b64encode
from itertools import pairwise

import pytest
import standardwebhooks
import svix
from hypothesis import given
from hypothesis import strategies as st

from app.adapters.clock import SystemClock
from app.core.errors import ConfigError, Defect, Unrepresentable
from app.core.model.event_types import includes
from app.profiles.catalog import PROFILES, get
from app.profiles.contract import EventView, Profile
from app.profiles.policy import DisableRule
from app.roles.dispatch.schedule import JITTER

MINUTE, HOUR = 60.0, 3600.0
SECRET = "whsec_" + b64encode(bytes(range(32))).decode()

each_profile = pytest.mark.parametrize("profile", PROFILES.values(), ids=list(PROFILES))


@each_profile
def test_schedules_begin_at_once_and_grow(profile: Profile) -> None:
    assert profile.schedule_s[0] == 0
    assert all(earlier < later for earlier, later in pairwise(profile.schedule_s))


@pytest.mark.parametrize(
    ("name", "schedule_s", "timeout_s", "disable"),
    [
        (
            "standard",
            (0, 5, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR),
            20,
            DisableRule(gone_410=True, failing_days=5),
        ),
        ("bota", (0, MINUTE, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 8 * HOUR), 30, DisableRule()),
        ("efficlose", (0, MINUTE, 5 * MINUTE, 30 * MINUTE, 2 * HOUR), 30, DisableRule()),
        (
            "voxscriber",
            (0, MINUTE, 5 * MINUTE, 30 * MINUTE, 2 * HOUR),
            30,
            DisableRule(consecutive_failures=5),
        ),
    ],
)
def test_policies_as_documented(
    name: str, schedule_s: tuple[float, ...], timeout_s: float, disable: DisableRule
) -> None:
    profile = get(name)
    assert (profile.schedule_s, profile.timeout_s, profile.disable) == (schedule_s, timeout_s, disable)


def test_recall_tries_for_a_day_and_no_longer() -> None:
    recall = get("recall")
    assert recall.timeout_s == 15
    assert recall.disable == DisableRule(failing_days=5, onset_failures=2, onset_window_h=24, onset_spread_h=12)
    earliest = sum(recall.schedule_s)
    latest = earliest * (1 + JITTER) + recall.timeout_s * (len(recall.schedule_s) - 1)
    assert 21 * HOUR < earliest < latest < 24 * HOUR


def test_only_efficlose_goes_without_a_secret() -> None:
    assert [profile.name for profile in PROFILES.values() if not profile.secret_required] == ["efficlose"]
    for profile in PROFILES.values():
        if profile.secret_required:
            with pytest.raises(Defect):
                profile.headers(b"{}", (), "evt_1", 1)
        else:
            assert profile.headers(b"{}", (), "evt_1", 1) == ()


def test_device_events_of_bota_are_opt_in() -> None:
    opt_in = get("bota").opt_in
    assert not includes("*", "device.offline", opt_in)
    assert includes("device.*", "device.offline", opt_in)
    assert includes("device.offline", "device.offline", opt_in)
    assert includes("*", "recording.created", opt_in)
    assert [profile.name for profile in PROFILES.values() if profile.opt_in] == ["bota"]


@pytest.mark.parametrize("name", ["standard", "recall"])
def test_keys_from_base64(name: str) -> None:
    key = get(name).key
    assert key(SECRET) == bytes(range(32)) == key(SECRET.removeprefix("whsec_"))
    for wrong in ("whsec_", "", "whsec_not-base64!", "whsec_AAA", "whsec_ÄÄÄÄ"):
        with pytest.raises(ConfigError) as caught:
            key(wrong)
        assert "AAA" not in str(caught.value)


@pytest.mark.parametrize("name", ["bota", "efficlose", "voxscriber"])
def test_keys_from_characters(name: str) -> None:
    key = get(name).key
    assert key(SECRET) == SECRET.encode()
    assert key("schlüssel") == b"schl\xc3\xbcssel"
    for wrong in ("", "\ud800"):
        with pytest.raises(ConfigError):
            key(wrong)


@pytest.mark.parametrize("name", ["bota", "efficlose", "voxscriber"])
def test_single_signatures_are_made_with_the_newest_key(name: str) -> None:
    headers = get(name).headers
    assert headers(b"{}", [b"new", b"old"], "evt_1", 1) == headers(b"{}", [b"new"], "evt_2", 2)


@pytest.mark.parametrize("name", ["standard", "recall"])
@pytest.mark.parametrize("known", [0, 1])
def test_either_secret_verifies_during_a_rotation(name: str, known: int) -> None:
    profile, now_s = get(name), SystemClock().now_ms() // 1000
    secrets = [SECRET, "whsec_" + b64encode(b"o" * 24).decode()]
    body = profile.envelope(EventView("evt_1", "user.created", "2025-01-15T10:00:00Z", b'{"id":1}'))
    headers = dict(profile.headers(body, [profile.key(secret) for secret in secrets], "evt_1", now_s))
    library = standardwebhooks.Webhook if name == "standard" else svix.Webhook
    library(secrets[known]).verify(body, headers)
    with pytest.raises(Exception, match="signature"):
        library(secrets[known]).verify(body + b" ", headers)


@pytest.mark.parametrize("name", ["standard", "bota", "recall", "voxscriber"])
def test_data_passes_byte_for_byte(name: str) -> None:
    data = b'{"b": 1.0,\n"1":9007199254740993, "b":"\\u0041\\/"}'
    assert data in get(name).envelope(EventView("evt_1", "user.created", "2025-01-15T10:00:00Z", data))


def test_efficlose_refuses_what_javascript_would_change() -> None:
    with pytest.raises(Unrepresentable) as caught:
        get("efficlose").envelope(EventView("evt_1", "a.b", "2025-01-15T10:00:00Z", b'{"id":9007199254740993}'))
    assert caught.value.pointer == "/id"


@each_profile
@given(st.text(), st.text(), st.text())
def test_strings_are_escaped(profile: Profile, event_id: str, event_type: str, created_at: str) -> None:
    said = json.loads(profile.envelope(EventView(event_id, event_type, created_at, b'{"x":1}')))
    given_ = {
        "id": event_id,
        "type": event_type,
        "event": event_type,
        "created_at": created_at,
        "timestamp": created_at,
    }
    assert said.pop("data") == {"x": 1}
    assert said == {name: given_[name] for name in said}


def test_an_unknown_profile_is_named() -> None:
    with pytest.raises(ConfigError, match="'stripe' is unknown: one of standard, bota"):
        get("stripe")
