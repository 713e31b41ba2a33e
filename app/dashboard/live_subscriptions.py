"""Subscribe a visit to a live subject of its tenant and mode, or of the service."""

from __future__ import annotations

from app.api.grants import Grant
from app.api.request import Caller
from app.api.server.authentication import OPERATOR
from app.core.directory import Directory
from app.dashboard.live import Sample, Subscription, Viewer
from app.dashboard.request import PageContext, PageRequest


def stream(desk: PageContext, visit: PageRequest, subject: str, sample: Sample, *, every_s: float) -> Subscription:
    """Subscribe to a subject. All viewers of a tenant and mode share `sample`, so it must not depend on more."""
    name = (subject, visit.caller.tenant, visit.caller.mode)
    return desk.hub.subscribe(name, sample, every_s=every_s, viewer=viewer_of(desk, visit), last_id=visit.last_event_id)


def viewer_of(desk: PageContext, visit: PageRequest) -> Viewer:
    """The viewer of a request; `allowed` checks that its session and key are still valid."""
    grant = visit.grant

    def allowed() -> bool:
        now_ms = desk.api.clock.now_ms()
        if grant is None or grant.expires_at_ms <= now_ms or desk.login_throttle.has_ended(grant.id):
            return False
        return allowed_caller(desk.api.feed.directory, grant, now_ms) is not None

    tenant = "" if visit.is_operator else visit.caller.tenant
    return Viewer(
        session=grant.id if grant is not None else "", payer=visit.caller.payer, tenant=tenant, allowed=allowed
    )


def allowed_caller(directory: Directory, grant: Grant, now_ms: int) -> Caller | None:
    """The caller of a grant; None if its key was revoked or has lost scopes, or its tenant was deleted."""
    if grant.kind == "operator":
        return OPERATOR
    if grant.tenant in directory.deleted_tenants:
        return None
    scopes = grant.scopes
    if grant.key_id:
        key = directory.keys.get(grant.key_id)
        if key is None or (key.tenant, key.mode) != (grant.tenant, grant.mode):
            return None
        if key.expires_at_ms is not None and key.expires_at_ms <= now_ms:
            return None
        scopes = tuple(each for each in grant.scopes if each in key.scopes)
    if not grant.tenant or "read" not in scopes:
        return None
    if grant.kind == "key":
        return Caller(grant.key_id, grant.tenant, grant.mode, scopes)
    made_by = grant.key_id or "operator"
    return Caller(
        f"portal/{grant.id}",
        grant.tenant,
        grant.mode,
        scopes,
        actor=f"portal of {made_by}",
        answers_for=grant.key_id or f"portals/{grant.tenant}/{grant.mode}",
    )
