"""Recall: bot status changes, signed as Svix does; the event's data is `{"data": {...}, "bot": {...}}`."""

from __future__ import annotations

from app.profiles.contract import EventView, Profile
from app.profiles.ecmascript_json import quote
from app.profiles.policy import DisableRule
from app.profiles.signatures import ListedSignatures, base64_key


def _envelope(event: EventView) -> bytes:
    return b'{"event":%b,"data":%b}' % (quote(event.type), event.data)


PROFILE = Profile(
    name="recall",
    envelope=_envelope,
    key=base64_key,
    headers=ListedSignatures("svix"),
    # "For the next 24 hours, with an increasing delay": 21 h 36 min in all, so that the last attempt begins within
    # 24 h even when every delay gets its full jitter and every attempt its full timeout.
    schedule_s=(0, 5, 60, 300, 600, 1_200, 3_600, 7_200, 10_800, 14_400, 18_000, 21_600),
    timeout_s=15,
    disable=DisableRule(failing_days=5, onset_failures=2, onset_window_h=24, onset_spread_h=12),
)
