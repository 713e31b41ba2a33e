"""Convoy: the answers of `GET /api/v1/projects/{id}/endpoints` and `…/subscriptions`, pages after each other.

Endpoints are recognised by their `url`, subscriptions by their `endpoint_metadata` or `endpoint_id`. Field names are
those of Convoy's OpenAPI document (docs/v3/openapi3.yaml of frain-dev/convoy). The `owner_id` of an endpoint becomes
its tenant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from app.cli.configuration.imports.collected import Collection, ImportedEndpoint
from app.cli.configuration.imports.sources import entries, mapping, text_of
from app.core.model.sensitive_headers import is_sensitive

#: fields of an endpoint that Hookstream has nothing for
_LOST = ("support_email", "slack_webhook_url", "mtls_client_cert")


def collect(documents: list[Any], into: Collection) -> None:
    """Take the endpoints with their subscriptions."""
    endpoints: list[Mapping[str, Any]] = []
    subscriptions: dict[str, list[Mapping[str, Any]]] = {}
    for each in map(mapping, _all_entries(documents)):
        of = text_of(each.get("endpoint_id")) or text_of(mapping(each.get("endpoint_metadata")).get("uid"))
        if of:
            subscriptions.setdefault(of, []).append(each)
        elif each.get("url") or each.get("target_url"):
            endpoints.append(each)
        else:
            into.lose("", text_of(each.get("uid")), "skipped: neither an endpoint nor a subscription")
    for endpoint in endpoints:
        _endpoint(endpoint, subscriptions.pop(text_of(endpoint.get("uid")), []), into)
    for of, orphans in subscriptions.items():
        into.lose("", of, f"skipped: {len(orphans)} subscriptions of an endpoint that is not in the export")


def _all_entries(documents: list[Any]) -> Iterator[Any]:
    for document in documents:
        parts = [mapping(document)[name] for name in ("endpoints", "subscriptions") if name in mapping(document)]
        for part in parts or [document]:
            yield from entries(part)


def _endpoint(endpoint: Mapping[str, Any], subscriptions: list[Mapping[str, Any]], into: Collection) -> None:
    tenant, name = text_of(endpoint.get("owner_id")), text_of(endpoint.get("uid")) or "an endpoint without an id"
    for field in _LOST:
        if endpoint.get(field):
            into.lose(tenant, name, field)
    if not subscriptions:
        into.read += 1
        into.lose(tenant, name, "skipped: it has no subscription, so it receives nothing")
        return
    fields, secret = _fields(endpoint), _secret(endpoint)
    headers = _headers(endpoint, tenant, name, into)
    split = len(subscriptions) > 1 and any(map(_filter, subscriptions))
    if not split:
        types = [each for subscription in subscriptions for each in _types(subscription)]
        events = ["*"] if "*" in types or not types else list(dict.fromkeys(map(str, types)))
        into.add(
            ImportedEndpoint(
                tenant, name, fields | {"events": events, "filter": _filter(subscriptions[0])}, secret, headers
            )
        )
        return
    for subscription in subscriptions:
        uid = f"{name}-{text_of(subscription.get('uid'))}"
        own = {"uid": uid, "events": _types(subscription) or ["*"], "filter": _filter(subscription)}
        into.add(ImportedEndpoint(tenant, uid, fields | own, secret, headers))
    into.lose(tenant, name, f"has {len(subscriptions)} subscriptions with filters: became one endpoint for each")


def _fields(endpoint: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "uid": endpoint.get("uid"),
        "url": endpoint.get("url") or endpoint.get("target_url"),
        "description": endpoint.get("name") or endpoint.get("description"),
        "timeout": endpoint.get("http_timeout") or None,
        "rate_limit": _per_second(endpoint.get("rate_limit"), endpoint.get("rate_limit_duration")),
        "active": None if endpoint.get("status", "active") == "active" else False,
    }


def _per_second(count: Any, seconds: Any) -> float | None:
    numbers = isinstance(count, int | float) and isinstance(seconds, int | float)
    return round(count / seconds, 3) if numbers and count > 0 and seconds > 0 else None


def _types(subscription: Mapping[str, Any]) -> list[Any]:
    types = mapping(subscription.get("filter_config")).get("event_types")
    return types if isinstance(types, list) else []


def _filter(subscription: Mapping[str, Any]) -> dict[str, Any] | None:
    """A subscription's filter as one of Hookstream's; one on headers keeps a form that is refused later."""
    both = mapping(mapping(subscription.get("filter_config")).get("filter"))
    body, headers = both.get("body"), both.get("headers")
    if not body and not headers:
        return None
    return ({"data": body} if body else {}) | ({"$headers": headers} if headers else {})


def _secret(endpoint: Mapping[str, Any]) -> str:
    """The newest secret that has not expired."""
    secrets = endpoint.get("secrets")
    valid = [
        each
        for each in map(mapping, secrets if isinstance(secrets, list) else [])
        if not each.get("expires_at") and not each.get("deleted_at")
    ]
    newest = max(valid, key=lambda each: text_of(each.get("created_at")), default={})
    return text_of(newest.get("value"))


def _headers(endpoint: Mapping[str, Any], tenant: str, name: str, into: Collection) -> Mapping[str, str]:
    authentication = mapping(endpoint.get("authentication"))
    kind = text_of(authentication.get("type"))
    key = mapping(authentication.get("api_key"))
    header, value = text_of(key.get("header_name")), text_of(key.get("header_value"))
    if header and value and is_sensitive(header):
        return {header: value}
    if kind:
        into.lose(tenant, name, f"authentication {kind[:80]!r}: set it as `auth` of the endpoint")
    return {}
