"""The event types that an endpoint may subscribe to, with suggestions for a misspelt one."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import get_args

from app.api.contract.fields import FieldError
from app.api.problems import invalid
from app.api.request import ApiServices
from app.core.model.event_types import RESERVED, includes, is_pattern
from app.core.records.notice import NoticeKind


def subscription(
    api: ApiServices, tenant: str, mode: str, profile: str, events: Sequence[str] | str
) -> tuple[str, ...]:
    """The patterns of a body without duplicates. Invalid patterns are rejected, each with its reason."""
    patterns = tuple(dict.fromkeys([events] if isinstance(events, str) else events))
    offered = None if is_open(api, tenant) else types_of(api, tenant, mode, profile)
    problems = []
    for index, pattern in enumerate(patterns):
        detail = _problem(pattern, offered)
        if detail is not None:
            problems.append(
                FieldError(detail=detail, pointer="/events" if isinstance(events, str) else f"/events/{index}")
            )
    if problems:
        raise invalid(*problems)
    return patterns


def is_open(api: ApiServices, tenant_id: str) -> bool:
    """Whether types outside the catalogues are allowed: the tenant's setting, or by default only for `standard`."""
    tenant = api.feed.directory.tenants.get(tenant_id)
    if tenant is None:
        return True
    return tenant.profile == "standard" if tenant.open_catalogue is None else tenant.open_catalogue


def types_of(api: ApiServices, tenant: str, mode: str, profile: str) -> list[str]:
    """The types that an endpoint of that profile can receive: of the product, the installation and the tenant."""
    declared = api.feed.directory.declared_types(tenant, mode)
    return sorted({*api.catalogue.get(profile, {}), *declared, *(RESERVED + kind for kind in get_args(NoticeKind))})


def _problem(pattern: str, offered: list[str] | None) -> str | None:
    if not is_pattern(pattern):
        return f"{pattern!r} is neither an event type, nor `*`, nor a prefix such as `recording.*`"
    if offered is None or pattern == "*" or any(includes(pattern, each) for each in offered):
        return None
    near = get_close_matches(pattern.removesuffix(".*"), offered, n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(near)}?" if near else f"; known are {', '.join(offered[:8])} …"
    return f"event type {pattern!r} is unknown{hint}"
