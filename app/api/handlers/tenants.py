"""Tenants and their keys: the operator's part of the API."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import msgspec
from msgspec import UNSET

from app.api.contract.fields import FieldError
from app.api.contract.tenants import BrandIn, KeyIn, KeyOut, TenantDeleted, TenantIn, TenantOut, TenantPatch
from app.api.handlers.subscriptions import is_open
from app.api.pagination import page
from app.api.problems import ApiError, invalid, not_found
from app.api.request import ApiRequest, ApiResponse, ApiServices
from app.core.errors import CommandRefused
from app.core.model.tenant import ApiKey, Brand, Tenant
from app.core.model.timestamps import iso, milliseconds, timestamp
from app.core.records.command import CreateKey, DeleteTenant, PutTenant, RevokeKey
from app.core.records.ordered import step
from app.core.topics.names import TopicName
from app.core.transforms.included_fields import path_problems

#: seconds that a request waits for the removal of what a deleted tenant holds, and between two looks
_REMOVAL_S, _LOOK_S = 20.0, 0.05
#: how often a change is tried again that another change of the tenant has overtaken
_TRIES = 5


async def create(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """Register a tenant that does not exist yet."""
    body: TenantIn = call.body
    _check_privacy(api, body.retention_days, body.redact)
    try:
        await api.command(PutTenant(_tenant(body), expected_version=0), body.id)
    except CommandRefused as error:
        if error.code == "conflict":
            raise ApiError(409, "exists", f"tenant {body.id} is there already") from error
        raise
    return _answer(api, body.id)


async def put(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """Replace the settings of an existing tenant."""
    body: TenantIn = call.body
    if body.id != call.path["id"]:
        raise invalid(FieldError(detail="is not the id of the path", pointer="/id"))
    _existing(api, body.id)
    _check_privacy(api, body.retention_days, body.redact)
    await api.command(PutTenant(_tenant(body), call.expected_version()), body.id)
    return _answer(api, body.id)


async def patch(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """Change the fields that the body names."""
    body: TenantPatch = call.body
    named = {name: getattr(body, name) for name in body.__struct_fields__ if getattr(body, name) is not UNSET}
    if "brand" in named:
        named["brand"] = _brand(named["brand"])
    if "notify_emails" in named:
        named["notify_emails"] = tuple(named["notify_emails"])
    if "redact" in named:
        named["redact"] = tuple(named["redact"])
    _check_privacy(api, named.get("retention_days"), named.get("redact", ()))
    expected, tries = call.expected_version(), 0
    while True:
        tenant = _existing(api, call.path["id"])
        changed = msgspec.structs.replace(tenant, **named)
        try:
            await api.command(PutTenant(changed, tenant.version if expected is None else expected), tenant.id)
        except CommandRefused as error:
            tries += 1
            if error.code != "conflict" or expected is not None or tries == _TRIES:
                raise
            await api.feed.catch_up()
        else:
            return _answer(api, tenant.id)


async def delete(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """Delete a tenant; returns once all that it holds is removed, or after some time. A repetition changes nothing."""
    id_, directory = call.path["id"], api.feed.directory
    endpoints = [each for mode in ("live", "test") for each in directory.endpoints(id_, mode)]
    ordered = [each.id for each in endpoints if each.ordering == "fifo"]
    await api.command(DeleteTenant(id_, call.expected_version()), id_)
    until_s = api.clock.monotonic() + _REMOVAL_S
    while (remaining := _remaining(api, id_)) and api.clock.monotonic() < until_s:
        await api.clock.sleep(_LOOK_S)
    topic = api.topics.name(TopicName.DELIVERIES_ORDERED)
    for endpoint_id in ordered:
        if directory.endpoint(endpoint_id) is None:  # its key queues are not needed any more
            await api.log.append(topic, key=endpoint_id.encode(), value=None, headers=step("open"))
    deleted = directory.deleted_tenants[id_]
    return ApiResponse(body=TenantDeleted(id=id_, deleted_at=iso(deleted.deleted_at_ms or 0), remaining=remaining))


def _remaining(api: ApiServices, tenant_id: str) -> int:
    held = api.feed.directory.holdings(tenant_id)
    return held.endpoints + held.keys + held.event_types


async def list_(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """All tenants by id."""
    tenants = sorted(api.feed.directory.tenants.values(), key=lambda each: each.id)
    return ApiResponse(body=page(call, tenants, lambda each: each.id, lambda each: present_tenant(api, each)))


async def get(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """One tenant, also after its deletion."""
    deleted = api.feed.directory.deleted_tenants.get(call.path["id"])
    if deleted is not None:
        return ApiResponse(body=present_tenant(api, deleted), headers={"ETag": f'"{deleted.version}"'})
    return _answer(api, call.path["id"])


async def create_key(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """Create a key; only its hash is stored."""
    body: KeyIn = call.body
    tenant = _existing(api, call.path["id"])
    if not body.scopes:
        raise invalid(FieldError(detail="at least one of read, write and pull", pointer="/scopes"))
    plain = api.minter.api_key(body.mode)
    key = ApiKey(
        id=api.minter.id("key"),
        tenant=tenant.id,
        mode=body.mode,
        digest=sha256(plain.encode()).hexdigest(),
        last4=plain[-4:],
        name=body.name,
        scopes=tuple(sorted(set(body.scopes))),
        expires_at_ms=_moment(body.expires_at),
    )
    await api.command(CreateKey(key), key.id)
    return ApiResponse(body=_key(api.feed.directory.keys[key.id], plain))


async def list_keys(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """The keys of a tenant, oldest first."""
    directory, id_ = api.feed.directory, call.path["id"]
    if id_ not in directory.tenants:  # also if it was deleted: reading is no conflict
        raise not_found("tenant", id_)
    keys = sorted((each for each in directory.keys.values() if each.tenant == id_), key=_order)
    return ApiResponse(body=page(call, keys, _order, _key))


async def revoke_key(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """Revoke the key."""
    key = api.feed.directory.keys.get(call.path["key"])
    if key is None or key.tenant != call.path["id"]:
        raise not_found("key", call.path["key"])
    await api.command(RevokeKey(key.id), key.id)
    return ApiResponse()


def _tenant(body: TenantIn) -> Tenant:
    return Tenant(
        id=body.id,
        name=body.name,
        profile=body.profile,
        notify_emails=tuple(body.notify_emails),
        open_catalogue=body.open_catalogue,
        brand=_brand(body.brand),
        metadata=body.metadata,
        retention_days=body.retention_days,
        redact=tuple(body.redact),
    )


def _check_privacy(api: ApiServices, retention_days: int | None, redact: Sequence[str]) -> None:
    """Raise `ApiError` 422 with every problem of the days and the hidden fields of a tenant."""
    problems = [FieldError(detail=sentence, pointer="/redact") for sentence in path_problems(redact or None)]
    if retention_days is not None and retention_days > api.retention_days:
        detail = f"at most {api.retention_days:g}, the days of this installation (HOOKSTREAM_RETENTION_DAYS)"
        problems.append(FieldError(detail=detail, pointer="/retention_days"))
    if problems:
        raise invalid(*problems)


def _brand(brand: BrandIn | None) -> Brand | None:
    return Brand(**msgspec.structs.asdict(brand)) if brand is not None else None


def _existing(api: ApiServices, tenant_id: str) -> Tenant:
    deleted = api.feed.directory.deleted_tenants.get(tenant_id)
    if deleted is not None:
        when = iso(deleted.deleted_at_ms or 0)
        raise ApiError(409, "tenant_deleted", f"tenant {tenant_id} was deleted at {when}: its id is not used again")
    tenant = api.feed.directory.tenants.get(tenant_id)
    if tenant is None:
        raise not_found("tenant", tenant_id)
    return tenant


def _answer(api: ApiServices, tenant_id: str) -> ApiResponse:
    tenant = _existing(api, tenant_id)
    return ApiResponse(body=present_tenant(api, tenant), headers={"ETag": f'"{tenant.version}"'})


def present_tenant(api: ApiServices, tenant: Tenant) -> TenantOut:
    return TenantOut(
        id=tenant.id,
        name=tenant.name,
        profile=tenant.profile,
        notify_emails=list(tenant.notify_emails),
        open_catalogue=is_open(api, tenant.id),
        brand=tenant.brand,
        metadata=tenant.metadata,
        retention_days=tenant.retention_days,
        redact=list(tenant.redact),
        version=tenant.version,
        created_at=iso(tenant.created_at_ms),
        updated_at=iso(tenant.updated_at_ms),
        deleted_at=iso(tenant.deleted_at_ms) if tenant.deleted_at_ms is not None else None,
    )


def _key(key: ApiKey, plain: Any = UNSET) -> KeyOut:
    return KeyOut(
        id=key.id,
        mode=key.mode,
        name=key.name,
        scopes=list(key.scopes),
        last4=key.last4,
        expires_at=iso(key.expires_at_ms) if key.expires_at_ms is not None else None,
        created_at=iso(key.created_at_ms),
        key=plain,
    )


def _order(key: ApiKey) -> str:
    return f"{key.created_at_ms:015}/{key.id}"


def _moment(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return milliseconds(timestamp(text))
    except ValueError as error:
        raise invalid(FieldError(detail=str(error), pointer="/expires_at")) from error
