"""Efficlose: receivers verify `JSON.stringify(JSON.parse(body))`, so the body is written as JavaScript would."""

from __future__ import annotations

from app.profiles.contract import EventView, Profile
from app.profiles.ecmascript_json import quote, stringify
from app.profiles.signatures import HexSignature, text_key


def _envelope(event: EventView) -> bytes:
    return b'{"event":%b,"timestamp":%b,"data":%b}' % (
        quote(event.type),
        quote(event.created_at),
        stringify(event.data),
    )


PROFILE = Profile(
    name="efficlose",
    envelope=_envelope,
    key=text_key,
    headers=HexSignature("X-Webhook-Signature", "sha256=", optional=True),
    schedule_s=(0, 60, 300, 1_800, 7_200),
    timeout_s=30,
    secret_required=False,
)
