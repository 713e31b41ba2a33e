"""Outpost: the answers of `GET /tenants/{id}/destinations` and `GET /tenants`.

Accepted are the list of one tenant's destinations, or `{"tenants": [{…tenant, "destinations": […]}]}`. Field names are
those of Outpost's OpenAPI document (docs/apis/openapi.yaml of hookdeck/outpost).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from app.cli.configuration.imports.collected import Collection, ImportedEndpoint
from app.cli.configuration.imports.sources import entries, mapping, text_of


def collect(documents: list[Any], into: Collection) -> None:
    """Take the destinations of an export."""
    for document in documents:
        tenants = mapping(document).get("tenants")
        if tenants is None:
            _destinations(entries(document), "", into)
            continue
        for each in entries(tenants):
            tenant = mapping(each)
            id_ = text_of(tenant.get("id"))
            into.add_tenant(id_, {"metadata": tenant.get("metadata")})
            _destinations(entries(tenant.get("destinations")), id_, into)


def _destinations(listed: list[Any], tenant: str, into: Collection) -> None:
    for each in listed:
        destination = mapping(each)
        name = text_of(destination.get("id")) or "a destination without an id"
        kind = destination.get("type")
        if kind != "webhook":
            into.read += 1
            into.lose(tenant, name, f"skipped: a destination of type {str(kind)[:80]!r} is no webhook")
            continue
        if destination.get("delivery_metadata"):
            into.lose(tenant, name, "delivery_metadata")
        secret = text_of(mapping(destination.get("credentials")).get("secret"))
        into.add(
            ImportedEndpoint(
                tenant, name, _fields(destination, name), secret, _headers(destination, tenant, name, into)
            )
        )


def _fields(destination: Mapping[str, Any], uid: str) -> dict[str, Any]:
    topics = destination.get("topics")
    return {
        "uid": "outpost-" + uid if uid.startswith("ep_") else uid,
        "url": mapping(destination.get("config")).get("url"),
        "events": topics if isinstance(topics, list) and topics else ["*"],
        "filter": destination.get("filter"),
        "metadata": destination.get("metadata"),
        "active": False if destination.get("disabled_at") else None,
    }


def _headers(destination: Mapping[str, Any], tenant: str, name: str, into: Collection) -> Mapping[str, Any]:
    """The custom headers, which Outpost has as JSON text."""
    headers = mapping(destination.get("config")).get("custom_headers")
    if not headers or isinstance(headers, dict):
        return mapping(headers)
    try:
        return mapping(json.loads(text_of(headers)))
    except (ValueError, RecursionError):
        into.lose(tenant, name, "custom_headers: not a JSON object")
        return {}
