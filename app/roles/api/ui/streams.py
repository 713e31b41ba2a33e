"""Subscribe a visit to a live subject of its tenant and mode."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from app.roles.api.ui.live import Sample
from app.roles.api.ui.visit import Desk, Visit


def stream(desk: Desk, visit: Visit, subject: str, sample: Sample, *, every_s: float) -> AsyncGenerator[bytes, None]:
    """The subject's frames; all visits of one tenant and mode share them, so `sample` must not depend on more."""
    grant = visit.grant
    return desk.hub.subscribe(
        (subject, visit.caller.tenant, visit.caller.mode), sample, every_s=every_s,
        session=grant.id if grant is not None else "", until_ms=grant.expires_at_ms if grant is not None else 0,
        last_id=visit.last_event_id,
    )  # fmt: skip
