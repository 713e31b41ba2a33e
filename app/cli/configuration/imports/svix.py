"""Svix: the answers of `GET /api/v1/app/{id}/endpoint/`, of its `secret/` and `headers/`, and of `GET /api/v1/app/`.

Accepted are the list of one application's endpoints (pages after each other), or
`{"applications": [{…application, "endpoints": …list}]}`. An endpoint may have the answers of its routes as `secret`
and `headers`. Field names are those of Svix's OpenAPI document, https://api.svix.com/docs: those of 2026, in which
`filterTypes` became `eventTypes` and `rateLimit` became `throttleRate`, and those before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.cli.configuration.imports.collected import Collection, ImportedEndpoint
from app.cli.configuration.imports.sources import entries, mapping, text_of

#: uids that begin like an id of Hookstream's get this in front
_PREFIX = "svix-"
#: the profile whose headers have Svix's names
SIGNATURE = "recall"


def collect(documents: list[Any], into: Collection) -> None:
    """Take the endpoints of an export."""
    for document in documents:
        applications = mapping(document).get("applications")
        if applications is None:
            _endpoints(entries(document), "", into)
            continue
        for application in entries(applications):
            app = mapping(application)
            tenant = text_of(app.get("uid")) or text_of(app.get("id"))
            into.add_tenant(tenant, {"name": app.get("name"), "metadata": app.get("metadata")})
            if _either(app, "throttleRate", "rateLimit"):
                into.lose(tenant, "", "rate limit of the application: rate limits belong to endpoints")
            _endpoints(entries(app.get("endpoints")), tenant, into)


def _endpoints(listed: list[Any], tenant: str, into: Collection) -> None:
    for each in listed:
        endpoint = mapping(each)
        name = text_of(endpoint.get("id")) or text_of(endpoint.get("uid")) or "an endpoint without an id"
        secret = _secret(endpoint.get("secret"))
        if secret.startswith("whsk_"):
            into.lose(tenant, name, "secret: the key pair of an asymmetric signature; a new secret is generated")
            secret = ""
        into.add(ImportedEndpoint(tenant, name, _fields(endpoint), secret, _headers(endpoint, tenant, name, into)))
        if endpoint.get("transformation") or endpoint.get("transformationEnabled"):
            into.lose(tenant, name, "transformation: Svix runs JavaScript")


def _fields(endpoint: Mapping[str, Any]) -> dict[str, Any]:
    uid = text_of(endpoint.get("uid")) or text_of(endpoint.get("id"))
    return {
        "uid": _PREFIX + uid if uid.startswith("ep_") else uid,
        "url": endpoint.get("url"),
        "events": _either(endpoint, "eventTypes", "filterTypes") or ["*"],
        "description": endpoint.get("description"),
        "metadata": endpoint.get("metadata"),
        "channels": endpoint.get("channels"),
        "rate_limit": _either(endpoint, "throttleRate", "rateLimit"),
        "active": False if endpoint.get("disabled") else None,
    }


def _either(source: Mapping[str, Any], name: str, former: str) -> Any:
    """A field by its name, or by the name that it had before."""
    return source.get(name) or source.get(former)


def _secret(value: Any) -> str:
    return text_of(value) or text_of(mapping(value).get("key"))


def _headers(endpoint: Mapping[str, Any], tenant: str, name: str, into: Collection) -> Mapping[str, Any]:
    answer = mapping(endpoint.get("headers"))
    sensitive = answer.get("sensitive")
    for header in sensitive if isinstance(sensitive, list) else []:
        into.lose(tenant, name, f"header {str(header)[:80]!r}: Svix does not show its value")
    return mapping(answer.get("headers"))
