"""The default profile: Standard Webhooks 1.0."""

from __future__ import annotations

from app.profiles.contract import EventView, Profile
from app.profiles.ecmascript_json import quote
from app.profiles.policy import DisableRule
from app.profiles.signatures import ListedSignatures, base64_key


def _envelope(event: EventView) -> bytes:
    return b'{"id":%b,"type":%b,"timestamp":%b,"data":%b}' % (
        quote(event.id),
        quote(event.type),
        quote(event.created_at),
        event.data,
    )


PROFILE = Profile(
    name="standard",
    envelope=_envelope,
    key=base64_key,
    headers=ListedSignatures("webhook"),
    schedule_s=(0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400),
    timeout_s=20,
    disable=DisableRule(gone_410=True, failing_days=5),
)
