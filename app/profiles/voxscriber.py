"""VoxScriber: transcription callbacks with a plain hex signature; five failures in a row disable the endpoint."""

from __future__ import annotations

from app.profiles.contract import EventView, Profile
from app.profiles.ecmascript_json import quote
from app.profiles.policy import DisableRule
from app.profiles.signatures import HexSignature, text_key


def _envelope(event: EventView) -> bytes:
    return b'{"id":%b,"type":%b,"data":%b}' % (quote(event.id), quote(event.type), event.data)


PROFILE = Profile(
    name="voxscriber",
    envelope=_envelope,
    key=text_key,
    headers=HexSignature("X-Webhook-Signature"),
    schedule_s=(0, 60, 300, 1_800, 7_200),
    timeout_s=30,
    disable=DisableRule(consecutive_failures=5),
)
