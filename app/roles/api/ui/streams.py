"""Subscribe a visit to a live subject of its tenant and mode, or of the service."""

from __future__ import annotations

from app.roles.api.ui.live import Sample, Subscription, Viewer
from app.roles.api.ui.signing_in import allowed_caller
from app.roles.api.ui.visit import Desk, Visit


def stream(desk: Desk, visit: Visit, subject: str, sample: Sample, *, every_s: float) -> Subscription:
    """The subject's frames; all visits of one tenant and mode share them, so `sample` must not depend on more."""
    name = (subject, visit.caller.tenant, visit.caller.mode)
    return desk.hub.subscribe(
        name, sample, every_s=every_s, viewer=viewer_of(desk, visit), last_id=visit.last_event_id
    )  # fmt: skip


def viewer_of(desk: Desk, visit: Visit) -> Viewer:
    """Who looks, while its session and the key behind it hold."""
    grant = visit.grant

    def allowed() -> bool:
        now_ms = desk.api.clock.now_ms()
        if grant is None or grant.expires_at_ms <= now_ms or desk.doorkeeper.has_ended(grant.id):
            return False
        return allowed_caller(desk.api.feed.directory, grant, now_ms) is not None

    tenant = "" if visit.is_operator else visit.caller.tenant
    return Viewer(
        session=grant.id if grant is not None else "", payer=visit.caller.payer, tenant=tenant, allowed=allowed
    )  # fmt: skip
