"""The OpenAPI 3.1 document, generated from the table of operations, their types and the catalogue of events."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Any, get_args

import msgspec

from app.api.contract import fields
from app.api.contract import webhooks as c
from app.api.contract.tenants import TenantOut
from app.api.server.openapi_parameters import PARAMETERS, Json, component, parameter
from app.api.server.routes import ROUTES, Route
from app.profiles.catalog import PROFILES, CatalogueEntry
from app.profiles.contract import EventView, Profile

Catalogue = Mapping[str, Mapping[str, CatalogueEntry]]

_SCHEMAS = "#/components/schemas/{name}"
_ABOUT = """Register endpoints, append events, and see how they were delivered.

An endpoint is a URL that receives events. Its path is `/v1/webhooks`, as in the documents of the products that
Hookstream is compatible with.

An API key (`sk_live_…`, `sk_test_…`) belongs to one tenant and mode and sees nothing else. Lists are paginated: pass
`next_cursor` as `cursor` until it is null. A POST with an `Idempotency-Key` can be repeated safely. Errors are
`application/problem+json` (RFC 9457). Responses may gain fields at any time.
"""
_TAGS = {
    "webhooks": "Endpoints: the URLs that receive events, with their event types, signing secret and retry schedule.",
    "events": "Append events, and look up what happened to them.",
    "event-types": "Event types: the products' catalogues, and your own types.",
    "deliveries": "Deliveries and their attempts; retry or cancel them.",
    "stats": "Success rates, counts and latencies.",
    "replays": "Deliver past events to an endpoint.",
    "audit": "The audit log: who changed what, and when.",
    "filters": "Conditions of endpoints on the fields of events.",
    "source-addresses": "Where requests to endpoints come from.",
    "webhook-keys": "Public keys of endpoints, for everybody who knows the endpoint's id.",
    "erasures": "Erasures of subjects: the persons whom the data of events is about.",
    "portal-links": "Links that let your customers see their endpoints and deliveries.",
    "tenants": "Tenants and their API keys. Requires the operator's token.",
    "service": "Health and description of the service.",
}
_PATH = {
    "id": "The id of the object.",
    "name": "The event type's name, such as `recording.created`.",
    "key": "The key's id (not the key itself).",
}
#: reads whose answer depends on the state of the object: 409 is possible
_STATEFUL_READS = {"events.get", "pulls.events", "pulls.committed"}
_PROBLEMS = {
    400: "The request could not be parsed: its JSON, a parameter or a header.",
    401: "The key is missing, invalid, expired or revoked.",
    403: "The key does not have the required scope.",
    404: "No object with this id or name is visible to this key.",
    409: "The request conflicts with the current state of the object.",
    412: "The object has a different version from the one in If-Match.",
    413: "The request body is too large.",
    415: "The request body is not `application/json`.",
    422: "The request body is invalid (`errors` lists each field with a JSON Pointer), or the Idempotency-Key was "
    "already used for a different request.",
    429: "Too many requests. Retry after the seconds in `Retry-After`.",
    503: "The service cannot handle the request at the moment. Retry after the seconds in `Retry-After`.",
}
#: sent with every delivery whatever the profile: (name, meaning, always)
_DELIVERY_HEADERS = (
    ("user-agent", "Identifies the sender.", True),
    ("webhook-id", "The event's id, the same for all attempts and endpoints.", True),
    ("webhook-attempt", "The number of this attempt, starting at 1.", True),
    ("webhook-sequence", "The number of this event for its ordering key, or for the endpoint.", False),
    ("webhook-ordering-key", "The ordering key, percent-encoded.", False),
    ("webhook-replay", "The id of the replay that created this delivery.", False),
    ("traceparent", "W3C trace context, if the producer set it.", False),
)
#: resources returned with an ETag
_TAGGED = (c.Webhook, TenantOut)
_ID, _TIME = "evt_2gJ8pXq7mQ4rT1", "2026-01-15T10:00:00.000Z"
#: 32 bytes that both kinds of key understand
_EXAMPLE_SECRET = "whsec_" + "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


def document(catalogue: Catalogue, *, version: str) -> Json:
    """The document as JSON values; `catalogue` is the result of `load_catalogue`."""
    paths: Json = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Hookstream",
            "summary": "Webhook delivery out of Kafka",
            "description": _ABOUT,
            "version": version,
            "license": {"name": "Apache License 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "This service"}],
        "tags": [
            *({"name": name, "description": text} for name, text in _TAGS.items()),
            *({"name": _product_tag(name), "description": f"Webhooks of the profile `{name}`."} for name in PROFILES),
        ],
        "paths": paths | _service_paths(),
        "webhooks": {
            f"{name}.{entry.type}": {"post": _delivery(PROFILES[name], entry)}
            for name, entries in catalogue.items()
            for _, entry in sorted(entries.items())
        },
        "components": _components(),
    }


def _components() -> Json:
    types = [part for route in ROUTES for part in _parts(route.takes, route.gives, route.of)]
    _, schemas = msgspec.json.schema_components([*types, fields.Problem], ref_template=_SCHEMAS)
    page = schemas.pop("PageOut")
    for entry in {route.of.__name__ for route in ROUTES if route.of is not None}:
        data = page["properties"]["data"] | {"items": _reference(entry)}
        schemas[f"{entry}Page"] = page | {"title": f"{entry}Page", "properties": page["properties"] | {"data": data}}
    for schema in (schemas["WebhookIn"], schemas["WebhookPatch"], schemas["TenantIn"], schemas["TenantPatch"]):
        _choose_profile(schema["properties"])
    return {
        "schemas": dict(sorted(schemas.items())),
        "parameters": _parameters(),
        "headers": _headers(),
        "responses": {f"Problem{status}": _problem(status, text) for status, text in _PROBLEMS.items()},
        "securitySchemes": {
            "key": _bearer(
                "An API key of a tenant for one mode. Changes require the scope `write`, everything else `read`; "
                "`pull` is enough for pull endpoints."
            ),
            "operator": _bearer(
                "The operator's token (`HOOKSTREAM_ADMIN_TOKEN`). With the headers `Hookstream-Tenant` and "
                "`Hookstream-Mode` it acts as a key of that tenant and mode."
            ),
        },
    }


def _parameters() -> Json:
    return {
        **{name: parameter(name) for name in PARAMETERS},
        "IdempotencyKey": _header(
            "Idempotency-Key",
            "A unique value for each operation. A repeated request with the same key is not carried out again; it "
            "gets the response of the first one, also while that is still in progress.",
            {"type": "string", "minLength": 1, "maxLength": 255},
        ),
        "LastEventId": _header(
            "Last-Event-ID",
            "The `id` of the last frame that was received: the stream begins with what followed it, as far as it "
            "is within 100,000 records of `events.raw` and 30 s of reading. A frame whose event is `gap` says that "
            "events are left out.",
            {"type": "string", "pattern": "^[0-9]{1,18}(,[0-9]{1,18})*$"},
        ),
        "IfMatch": _header("If-Match", "The ETag of the version to change, or `*`.", {"type": "string"}),
        **{name: _header(name, text, {"type": "string"}, always) for name, text, always in _DELIVERY_HEADERS},
        "LastPullId": _header(
            "Last-Event-ID",
            "Of a stream: the `id` of the last event that was received. The stream continues behind it.",
            {"type": "string", "maxLength": 64},
        ),
    }


def _choose_profile(properties: Json) -> None:
    """Add the names of the profiles to the schemas of fields that name one."""
    for name in {"profile", "signature"} & properties.keys():
        for each in properties[name].get("anyOf", [properties[name]]):
            if each["type"] == "string":
                each["enum"] = list(PROFILES)


def _parts(*types: Any) -> Iterator[Any]:
    """The types that get a schema; a union of two structs gets none of its own."""
    for each in types:
        if isinstance(each, UnionType):
            yield from _parts(*get_args(each))
        elif each is not None:
            yield each


def _schema(*types: Any) -> Json:
    """A reference to a type's component, or to one of several."""
    references, _ = msgspec.json.schema_components([*_parts(*types)], ref_template=_SCHEMAS)
    for each in references:
        if each.get("type") == "array":  # of events
            each |= {"minItems": 1, "maxItems": 1_000}
    return references[0] if len(references) == 1 else {"anyOf": list(references)}


def _reference(name: str, kind: str = "schemas") -> Json:
    return {"$ref": f"#/components/{kind}/{name}"}


def _bearer(description: str) -> Json:
    return {"type": "http", "scheme": "bearer", "description": description}


# Operations


def _operation(route: Route) -> Json:
    tag = route.path.split("/")[2]
    operation: Json = {"tags": [tag], "operationId": route.name, "summary": route.summary}
    match route.access:
        case "operator":
            operation["security"] = [{"operator": []}]
        case "anyone":
            operation["security"] = []
        case "read_any" | "write_any":
            operation["security"] = [{"key": [route.access.removesuffix("_any")]}, {"operator": []}]
        case "pull" | "commit":
            scope = "read" if route.access == "pull" else "write"
            operation["security"] = [{"key": [scope]}, {"key": ["pull"]}]
        case "read" | "write":
            operation["security"] = [{"key": [route.access]}]
    parameters = [_path_parameter(name) for name in re.findall(r"\{(\w+)\}", route.path)]
    parameters += [_reference(component(name, route), "parameters") for name in route.query]
    if route.streams or route.may_stream:
        parameters.append(_reference("LastEventId" if route.streams else "LastPullId", "parameters"))
    if route.method == "POST":
        parameters.append(_reference("IdempotencyKey", "parameters"))
    if _is_conditional(route):
        parameters.append(_reference("IfMatch", "parameters"))
    if parameters:
        operation["parameters"] = parameters
    if route.takes is not None:
        operation["requestBody"] = {
            "required": not route.takes_nothing_too,
            "content": {"application/json": {"schema": _schema(route.takes)}},
        }
    operation["responses"] = {
        str(route.status): _success(route),
        **{str(status): _reference(f"Problem{status}", "responses") for status in _possible_problems(route)},
    }
    return operation


def _path_parameter(name: str) -> Json:
    schema: Json = {"type": "string", "minLength": 1}
    return {"name": name, "in": "path", "required": True, "description": _PATH[name], "schema": schema}


def _header(name: str, description: str, schema: Json, always: bool = False) -> Json:
    return {"name": name, "in": "header", "required": always, "description": description, "schema": schema}


def _is_conditional(route: Route) -> bool:
    """Whether the operation changes a resource with an ETag."""
    shown = next((each.gives for each in ROUTES if (each.method, each.path) == ("GET", route.path)), None)
    return route.method != "GET" and "{" in route.path and (route.gives in _TAGGED or shown in _TAGGED)


def _success(route: Route) -> Json:
    headers = {name: _reference(name, "headers") for name in ("RateLimit", "RateLimit-Policy")}
    if route.gives in _TAGGED:
        headers["ETag"] = _reference("ETag", "headers")
    response: Json = {"description": _SUCCESS[route.status], "headers": headers}
    if route.gives is not None:
        schema = _reference(f"{route.of.__name__}Page") if route.of is not None else _schema(route.gives)
        response["content"] = {"text/event-stream" if route.streams else "application/json": {"schema": schema}}
        if route.may_stream:
            response["content"]["text/event-stream"] = {"schema": {"type": "string"}}
    return response


_SUCCESS = {200: "Success.", 201: "Created.", 202: "Accepted; the work is done in the background.", 204: "Deleted."}


def _possible_problems(route: Route) -> list[int]:
    statuses = {400, 429, 503}
    if route.access != "anyone":
        statuses |= {401, 403}
    if "{" in route.path:
        statuses |= {404}
    if route.method != "GET" or route.name in _STATEFUL_READS:
        statuses |= {409}
    if _is_conditional(route):
        statuses |= {412}
    if route.takes is not None:
        statuses |= {413, 415}
    if route.takes is not None or route.method == "POST":
        statuses |= {422}
    return sorted(statuses)


def _problem(status: int, description: str) -> Json:
    headers = {429: ("Retry-After", "RateLimit", "RateLimit-Policy"), 503: ("Retry-After",)}.get(status, ())
    if status == 401:
        headers = ("WWW-Authenticate",)
    response: Json = {"description": description}
    if headers:
        response["headers"] = {name: _reference(name, "headers") for name in headers}
    return response | {"content": {"application/problem+json": {"schema": _schema(fields.Problem)}}}


def _headers() -> Json:
    texts = {
        "ETag": "The version of the object, for If-Match.",
        "RateLimit": 'Requests left, and seconds until the limit resets: `"default";r=99;t=1`.',
        "RateLimit-Policy": 'The limit: `"default";q=100;w=1`.',
        "WWW-Authenticate": "`Bearer`.",
    }
    return {
        **{name: {"description": text, "schema": {"type": "string"}} for name, text in texts.items()},
        "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 0}},
    }


def _service_paths() -> Json:
    text: Json = {"text/plain": {"schema": {"type": "string"}}}
    json: Json = {"application/json": {"schema": {"type": "object"}}}
    yaml: Json = {"application/yaml": {"schema": {"type": "object"}}}
    waiting = {"503": {"description": "Not ready; the body gives the reasons.", "content": json}}
    return {
        "/healthz": _probe("healthz", "Whether the process is alive", text),
        "/readyz": _probe("readyz", "Whether every role is ready", json, waiting),
        "/metrics": _probe("metrics", "Metrics in the Prometheus text format", text),
        "/openapi.json": _probe("openapi", "This document", json),
        "/asyncapi.yaml": _probe("asyncapi", "Webhooks and topics as messages: AsyncAPI 3.0", yaml),
    }


def _probe(name: str, summary: str, content: Json, more: Json | None = None) -> Json:
    responses = {"200": {"description": "Success.", "content": content}, **(more or {})}
    operation = {"tags": ["service"], "operationId": f"service.{name}", "summary": summary, "security": []}
    return {"get": operation | {"responses": responses}}


# Deliveries


def _product_tag(profile: str) -> str:
    return f"sent-by-{profile}"


def _delivery(profile: Profile, entry: CatalogueEntry) -> Json:
    event = EventView(entry.example_id or _ID, entry.type, entry.example_created_at or _TIME, entry.examples[0])
    common = {name for name, _, _ in _DELIVERY_HEADERS}
    signed = profile.headers(b"{}", [profile.key(_EXAMPLE_SECRET)], event.id, 1_768_471_200)
    return {
        "tags": [_product_tag(profile.name)],
        "operationId": f"{profile.name}.{entry.type}",
        "summary": entry.title,
        "description": entry.description,
        "security": [],
        "parameters": [
            *(_reference(name, "parameters") for name, _, _ in _DELIVERY_HEADERS),
            *(_signature_header(name, value, profile) for name, value in signed if name not in common),
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": _envelope(profile, entry),
                    "example": msgspec.json.decode(profile.envelope(event)),
                }
            },
        },
        "responses": {"2XX": {"description": "Taken. Any other answer, or none in time, means: try again later."}},
    }


def _envelope(profile: Profile, entry: CatalogueEntry) -> Json:
    """The schema of the body, derived from an example body of the profile."""
    data = msgspec.json.decode(entry.schema, type=dict[str, Any])
    meaning: Mapping[str, Json] = {
        "<id>": {"type": "string", "description": "The event's id."},
        "<type>": {"const": entry.type, "description": "The event's type."},
        "<time>": {"type": "string", "description": "When it happened: ISO 8601."},
        "<data>": {name: value for name, value in data.items() if name not in ("$schema", "$id")},
    }
    body = msgspec.json.decode(
        profile.envelope(EventView("<id>", "<type>", "<time>", b'"<data>"')), type=dict[str, str]
    )
    properties = {name: meaning[mark] for name, mark in body.items()}
    return {"type": "object", "properties": properties, "required": list(properties)}


def _signature_header(name: str, value: str, profile: Profile) -> Json:
    """A header that only some profiles send; the example shows its format."""
    texts = {"id": "The event's id.", "timestamp": "When the attempt was made, in seconds; signed with the body."}
    text = texts.get(
        name.rpartition("-")[2],
        "HMAC-SHA256 with the endpoint's secret; another profile's, where `signature` says so; Ed25519, where "
        "`signature_scheme` does.",
    )
    return _header(name, text, {"type": "string", "examples": [value]}, profile.secret_required)
