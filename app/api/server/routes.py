"""The API's operations as a table: the server, the OpenAPI document and the tests of isolation all read it."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from app.api.contract import deliveries as d
from app.api.contract import erasures, events, fields, filters, previews, pulls, replays, stats
from app.api.contract import tenants as t
from app.api.contract import webhooks as c
from app.api.handlers.delivery_filters import QUERY
from app.api.handlers.event_listing import QUERY as EVENTS_QUERY

#: read, write: a tenant's key with that scope; pull, commit: those, or a key with the scope pull; read_any, write_any:
#: read and write, or the operator's token without a tenant;
#: operator: the operator's token; anyone: no key
Access = Literal["read", "write", "pull", "commit", "read_any", "write_any", "operator", "anyone"]

#: largest body of all: a batch of events
MAX_BODY = 8 * 1024 * 1024
#: body of an import of event types: an OpenAPI document
MAX_IMPORT = 2 * 1024 * 1024


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One operation."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    #: `<module>.<function>` of its handler, and the operation's id
    name: str
    summary: str
    access: Access
    takes: Any = None
    #: the body may be left out
    takes_nothing_too: bool = False
    gives: Any = None
    #: type of the entries, where `gives` is a page
    of: Any = None
    status: int = 200
    query: tuple[str, ...] = ()
    #: the response is a stream of server-sent events; `gives` is the data of one
    streams: bool = False
    #: with `Accept: text/event-stream` the response is a stream of the entries
    may_stream: bool = False
    #: bytes of a body, decoded
    most: int = 256 * 1024


_PAGE = ("limit", "cursor")
_SPAN = ("since", "until")

ROUTES: tuple[Route, ...] = (
    Route(method="POST", path="/v1/webhooks", name="webhooks.create", summary="Register an endpoint; its secret is "
          "shown once", access="write", takes=c.WebhookIn, gives=c.Webhook, status=201),
    Route(method="GET", path="/v1/webhooks", name="webhooks.list", summary="List endpoints", access="read",
          gives=fields.PageOut, of=c.Webhook, query=(*_PAGE, "status")),
    Route(method="GET", path="/v1/webhooks/{id}", name="webhooks.get", summary="Show an endpoint", access="read",
          gives=c.Webhook),
    Route(method="PATCH", path="/v1/webhooks/{id}", name="webhooks.patch", summary="Change fields of an endpoint "
          "(If-Match: only this version)", access="write", takes=c.WebhookPatch, gives=c.Webhook),
    Route(method="DELETE", path="/v1/webhooks/{id}", name="webhooks.delete", summary="Delete an endpoint",
          access="write", status=204),
    Route(method="POST", path="/v1/webhooks/{id}/test", name="actions.test", summary="Send a test event now and "
          "return the receiver's response", access="write", takes=c.TestIn, takes_nothing_too=True, gives=c.TestOut,
          most=MAX_BODY),
    Route(method="POST", path="/v1/webhooks/{id}/preview", name="previews.show", summary="Show the request that would "
          "be sent for an event, without sending it", access="write", takes=previews.PreviewIn, takes_nothing_too=True,
          gives=previews.PreviewOut, most=MAX_BODY),
    Route(method="POST", path="/v1/webhooks/{id}/pause", name="actions.pause", summary="Pause an endpoint: park its "
          "deliveries until it is resumed", access="write", gives=c.Webhook),
    Route(method="POST", path="/v1/webhooks/{id}/resume", name="actions.resume", summary="Resume an endpoint, "
          "starting with its parked deliveries", access="write", gives=c.Webhook),
    Route(method="POST", path="/v1/webhooks/{id}/disable", name="actions.disable", summary="Disable an endpoint: "
          "neither deliver nor park", access="write", gives=c.Webhook),
    Route(method="POST", path="/v1/webhooks/{id}/enable", name="actions.enable", summary="Enable an endpoint",
          access="write", gives=c.Webhook),
    Route(method="POST", path="/v1/webhooks/{id}/rotate-secret", name="actions.rotate", summary="Replace the signing "
          "secret; the new one is shown once", access="write", takes=c.RotateIn, takes_nothing_too=True,
          gives=c.Webhook),
    Route(method="POST", path="/v1/webhooks/{id}/rotate-signing-key", name="actions.rotate_key", summary="Replace the "
          "Ed25519 key of v1a, or make the first one", access="write", takes=c.RotateKeyIn, takes_nothing_too=True,
          gives=c.Webhook),
    Route(method="POST", path="/v1/webhooks/{id}/verify", name="actions.verify", summary="Ask the receiver of an "
          "unverified endpoint whether it agrees to deliveries", access="write", gives=c.VerifyOut),
    Route(method="POST", path="/v1/webhooks/{id}/recover", name="actions.recover", summary="Deliver what was missed "
          "while the endpoint was disabled", access="write", gives=replays.ReplayOut, status=202),
    Route(method="GET", path="/v1/webhooks/{id}/deliveries", name="deliveries.of_webhook", summary="List the "
          "deliveries of an endpoint, newest first", access="read", gives=fields.PageOut, of=d.DeliveryOut,
          query=(*QUERY[1:], *_PAGE)),
    Route(method="GET", path="/v1/webhooks/{id}/events", name="pulls.events", summary="Read the next events of a pull "
          "endpoint, or follow them", access="pull", gives=pulls.PulledPage, may_stream=True,
          query=("cursor", "limit", "wait", "format")),
    Route(method="GET", path="/v1/webhooks/{id}/events/commit", name="pulls.committed", summary="Show how far the "
          "receiver of a pull endpoint has committed", access="pull", gives=pulls.PullPosition),
    Route(method="POST", path="/v1/webhooks/{id}/events/commit", name="pulls.commit", summary="Commit how far the "
          "receiver of a pull endpoint has read", access="commit", takes=pulls.PullCommitIn, gives=pulls.PullPosition),
    Route(method="GET", path="/v1/webhooks/{id}/stats", name="stats.of_webhook", summary="Show success rates, counts "
          "and latencies of an endpoint", access="read", gives=stats.StatsOut, query=_SPAN),
    Route(method="POST", path="/v1/events", name="events.create", summary="Append one event, or an array of up to "
          "1,000", access="write", takes=events.EventIn | list[events.EventIn],
          gives=events.EventAccepted | events.EventsAccepted, status=202,
          most=MAX_BODY),
    Route(method="GET", path="/v1/events", name="events.list", summary="List events, newest first, with their "
          "outcomes", access="read_any", gives=fields.PageOut, of=events.EventSummary, query=(*EVENTS_QUERY, *_PAGE)),
    Route(method="GET", path="/v1/events/stream", name="events.stream", summary="Follow events as they are appended, "
          "as server-sent events", access="read", gives=events.StreamedEvent, streams=True, query=("types",)),
    Route(method="GET", path="/v1/events/{id}", name="events.get", summary="Show an event, and why each endpoint "
          "received it or did not", access="read_any", gives=events.EventOut,
          query=("partition", "offset", "since", "after")),
    Route(method="GET", path="/v1/deliveries", name="deliveries.list", summary="List deliveries, newest first",
          access="read", gives=fields.PageOut, of=d.DeliveryOut, query=(*QUERY, *_PAGE)),
    Route(method="GET", path="/v1/deliveries/{id}", name="deliveries.get", summary="Show a delivery with its attempts "
          "and its request", access="read", gives=d.DeliveryDetail),
    Route(method="POST", path="/v1/deliveries/retry", name="retries.retry_many", summary="Retry all matching "
          "deliveries, or count them", access="write", takes=d.BulkRetryIn, gives=d.BulkRetryOut, status=202),
    Route(method="POST", path="/v1/deliveries/discard", name="discards.discard_many", summary="Discard all matching "
          "dead deliveries, or count them", access="write", takes=d.BulkDiscardIn, gives=d.BulkDiscardOut, status=202),
    Route(method="POST", path="/v1/deliveries/{id}/retry", name="retries.retry", summary="Retry a delivery now, "
          "whatever its state", access="write", gives=d.ManualActionOut, status=202),
    Route(method="POST", path="/v1/deliveries/{id}/cancel", name="retries.cancel", summary="Cancel a delivery that "
          "waits for an attempt", access="write", gives=d.ManualActionOut, status=202),
    Route(method="GET", path="/v1/stats", name="stats.get", summary="Show success rates, counts and latencies",
          access="read", gives=stats.StatsOut, query=_SPAN),
    Route(method="GET", path="/v1/event-types", name="event_types.list", summary="List event types", access="read_any",
          gives=fields.PageOut, of=events.EventTypeOut, query=(*_PAGE, "profile")),
    Route(method="GET", path="/v1/event-types/{name}", name="event_types.get", summary="Show an event type",
          access="read_any", gives=events.EventTypeOut),
    Route(method="PUT", path="/v1/event-types/{name}", name="event_types.put", summary="Register an event type of your "
          "own, or replace it. With the operator's token: of the installation's catalogue", access="write_any",
          takes=events.EventTypeIn, gives=events.EventTypeOut),
    Route(method="DELETE", path="/v1/event-types/{name}", name="event_types.delete", summary="Delete an event type of "
          "your own. With the operator's token: of the installation's catalogue", access="write_any", status=204),
    Route(method="POST", path="/v1/event-types/import", name="event_types.import_openapi", summary="Declare the "
          "webhooks of an OpenAPI 3.1 document as event types, or show what would change", access="write_any",
          takes=events.EventTypesImportIn, gives=events.EventTypesImported, most=MAX_IMPORT),
    Route(method="GET", path="/v1/source-addresses", name="source_addresses.show", summary="Show the addresses that "
          "requests to endpoints come from", access="read_any", gives=c.SourceAddresses),
    Route(method="POST", path="/v1/filters/test", name="filters.test", summary="Try a filter on an event",
          access="read", takes=filters.FilterTestIn, gives=filters.FilterTestOut, most=MAX_BODY),
    Route(method="POST", path="/v1/replays", name="replays.create", summary="Replay a time range, or estimate "
          "what a replay would deliver", access="write", takes=replays.ReplayIn, gives=replays.ReplayOut, status=202),
    Route(method="GET", path="/v1/replays", name="replays.list", summary="List replays", access="read",
          gives=fields.PageOut,
          of=replays.ReplayOut, query=_PAGE),
    Route(method="GET", path="/v1/replays/{id}", name="replays.get", summary="Show a replay", access="read",
          gives=replays.ReplayOut),
    Route(method="POST", path="/v1/replays/{id}/cancel", name="replays.cancel", summary="Stop a replay", access="write",
          gives=replays.ReplayOut),
    Route(method="POST", path="/v1/replays/{id}/pause", name="replays.pause", summary="Pause a replay",
          access="write", gives=replays.ReplayOut),
    Route(method="POST", path="/v1/replays/{id}/resume", name="replays.resume", summary="Resume a replay",
          access="write", gives=replays.ReplayOut),
    Route(method="POST", path="/v1/erasures", name="erasures.create", summary="Erase a subject: its data can no "
          "longer be read or delivered", access="write", takes=erasures.ErasureIn,
          gives=erasures.ErasureOut, status=202),
    Route(method="GET", path="/v1/erasures", name="erasures.list", summary="List erasures", access="read",
          gives=fields.PageOut, of=erasures.ErasureOut, query=_PAGE),
    Route(method="GET", path="/v1/erasures/{id}", name="erasures.get", summary="Show an erasure", access="read",
          gives=erasures.ErasureOut),
    Route(method="GET", path="/v1/audit", name="audit.list", summary="List changes, newest first",
          access="read_any", gives=fields.PageOut, of=t.AuditOut, query=_PAGE),
    Route(method="POST", path="/v1/portal-links", name="portal.create", summary="Create a link to the portal of the "
          "tenant and mode", access="write", takes=t.PortalLinkIn, takes_nothing_too=True, gives=t.PortalLink,
          status=201),
    Route(method="POST", path="/v1/tenants", name="tenants.create", summary="Register a tenant", access="operator",
          takes=t.TenantIn, gives=t.TenantOut, status=201),
    Route(method="GET", path="/v1/tenants", name="tenants.list", summary="List tenants", access="operator",
          gives=fields.PageOut, of=t.TenantOut, query=_PAGE),
    Route(method="GET", path="/v1/tenants/{id}", name="tenants.get", summary="Show a tenant", access="operator",
          gives=t.TenantOut),
    Route(method="PUT", path="/v1/tenants/{id}", name="tenants.put", summary="Replace a tenant (If-Match: only this "
          "version)", access="operator", takes=t.TenantIn, gives=t.TenantOut),
    Route(method="PATCH", path="/v1/tenants/{id}", name="tenants.patch", summary="Change fields of a tenant (If-Match: "
          "only this version)", access="operator", takes=t.TenantPatch, gives=t.TenantOut),
    Route(method="DELETE", path="/v1/tenants/{id}", name="tenants.delete", summary="Delete a tenant with all that it "
          "has. Its id is never used again", access="operator", gives=t.TenantDeleted),
    Route(method="POST", path="/v1/tenants/{id}/keys", name="tenants.create_key", summary="Create a key; it is shown "
          "once", access="operator", takes=t.KeyIn, gives=t.KeyOut, status=201),
    Route(method="GET", path="/v1/tenants/{id}/keys", name="tenants.list_keys", summary="List the keys of a tenant",
          access="operator", gives=fields.PageOut, of=t.KeyOut, query=_PAGE),
    Route(method="DELETE", path="/v1/tenants/{id}/keys/{key}", name="tenants.revoke_key", summary="Revoke a key",
          access="operator", status=204),
    Route(method="GET", path="/.well-known/webhook-keys/{id}", name="signing_keys.published", summary="Show the public "
          "keys that verify an endpoint's v1a signatures", access="anyone", gives=c.PublishedKeys, most=0),
)  # fmt: skip
