"""The pages as a table: the site, and the tests of isolation and of forged forms, all read it."""

from __future__ import annotations

from typing import Literal

import msgspec

from app.dashboard.pages import (
    all_tenants,
    audit,
    dead_letters,
    deliveries,
    endpoint_changes,
    endpoints,
    event_list,
    event_types,
    events,
    filter_trial,
    operations,
    overview,
    replays,
    tenants,
    verification,
)
from app.dashboard.request import PageHandler
from app.dashboard.server import login

#: read, write: of a tenant and mode; operator: the operator alone; anyone: strangers, too
Reach = Literal["read", "write", "operator", "anyone"]


class PageRoute(msgspec.Struct, frozen=True, kw_only=True):
    """A page, or the target of a form."""

    method: Literal["GET", "POST"]
    #: behind `/ui`; behind `/ui/t/<tenant>/<mode>` and `/portal/<token>` where it is of a tenant
    path: str
    reach: Reach
    screen: PageHandler

    @property
    def scoped(self) -> bool:
        """Whether the path contains a tenant and mode."""
        return self.reach in ("read", "write")


def _get(path: str, screen: PageHandler, reach: Reach = "read") -> PageRoute:
    return PageRoute(method="GET", path=path, reach=reach, screen=screen)


def _post(path: str, screen: PageHandler, reach: Reach = "write") -> PageRoute:
    return PageRoute(method="POST", path=path, reach=reach, screen=screen)


SCREENS: tuple[PageRoute, ...] = (
    _get("", login.home, "anyone"),
    _get("/sign-in", login.ask, "anyone"),
    _post("/sign-in", login.enter, "anyone"),
    _post("/sign-out", login.leave, "anyone"),
    _get("/overview", all_tenants.show, "operator"),
    _get("/overview/live", all_tenants.live, "operator"),
    _get("/search", all_tenants.search, "operator"),
    _get("/tenants", tenants.list_, "operator"),
    _post("/tenants", tenants.create, "operator"),
    _get("/tenants/{id}", tenants.show, "operator"),
    _post("/tenants/{id}", tenants.change, "operator"),
    _post("/tenants/{id}/delete", tenants.delete, "operator"),
    _post("/tenants/{id}/keys", tenants.create_key, "operator"),
    _post("/tenants/{id}/keys/{key}/revoke", tenants.revoke_key, "operator"),
    _get("/events", event_list.list_all, "operator"),
    _get("/events/{id}", event_list.show, "operator"),
    _get("/event-types", event_types.list_, "operator"),
    _get("/event-types/{name}", event_types.show, "operator"),
    _get("/declare-event-type", event_types.blank, "operator"),
    _post("/event-types", event_types.put, "operator"),
    _post("/event-types/{name}/delete", event_types.delete, "operator"),
    _get("/operations", operations.show, "operator"),
    _get("/operations/live", operations.live, "operator"),
    _get("/overview", overview.show),
    _get("/overview/live", overview.live),
    _get("/endpoints", endpoints.list_),
    _get("/endpoints/new", endpoints.blank, "write"),
    _post("/endpoints", endpoints.create),
    _get("/endpoints/{id}", endpoints.show),
    _post("/endpoints/{id}/settings", endpoint_changes.settings),
    _post("/endpoints/{id}/test", endpoint_changes.send),
    _post("/endpoints/{id}/preview", endpoint_changes.preview),
    _get("/endpoints/{id}/example", endpoint_changes.example),
    _get("/endpoints/{id}/verify", verification.show),
    _post("/endpoints/{id}/verify", verification.check, "read"),
    _post("/endpoints/{id}/rotate", endpoint_changes.rotate),
    _post("/endpoints/{id}/rotate-key", endpoint_changes.rotate_key),
    _post("/endpoints/{id}/delete", endpoint_changes.delete),
    _post("/endpoints/{id}/{action:pause|resume|enable|disable|recover|ask}", endpoint_changes.act),
    _get("/event-types", event_types.list_),
    _get("/event-types/{name}", event_types.show),
    _get("/declare-event-type", event_types.blank, "write"),
    _post("/event-types", event_types.put),
    _post("/event-types/{name}/delete", event_types.delete),
    _get("/events/new", events.blank, "write"),
    _post("/events", events.append),
    _get("/events", event_list.list_),
    _get("/events/{id}", event_list.show),
    _get("/filters", filter_trial.show),
    _post("/filters", filter_trial.judge, "read"),
    _get("/replays", replays.list_),
    _get("/replays/new", replays.blank, "write"),
    _post("/replays", replays.create),
    _get("/replays/live", replays.live),
    _get("/replays/{id}", replays.show),
    _post("/replays/{id}/{action:pause|resume|cancel}", replays.act),
    _get("/deliveries", deliveries.list_),
    _get("/deliveries/live", deliveries.live),
    _get("/deliveries/{id}", deliveries.show),
    _post("/deliveries/{id}/{action:retry|cancel}", deliveries.act),
    _get("/dead", dead_letters.list_),
    _post("/dead/retry", dead_letters.retry),
    _post("/dead/discard", dead_letters.discard),
    _get("/audit", audit.list_),
)
