"""Bota: recordings, transcriptions and summaries; device events only for endpoints that name them."""

from __future__ import annotations

from app.profiles.contract import EventView, Profile
from app.profiles.ecmascript_json import quote
from app.profiles.signatures import HexSignature, text_key


def _envelope(event: EventView) -> bytes:
    return b'{"id":%b,"type":%b,"created_at":%b,"data":%b}' % (
        quote(event.id),
        quote(event.type),
        quote(event.created_at),
        event.data,
    )


PROFILE = Profile(
    name="bota",
    envelope=_envelope,
    key=text_key,
    headers=HexSignature("X-Bota-Signature", "sha256="),
    schedule_s=(0, 60, 300, 1_800, 7_200, 28_800),
    timeout_s=30,
    opt_in=("device.",),
)
