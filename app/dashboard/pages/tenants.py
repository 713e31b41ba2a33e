"""Tenants and their keys: the operator's pages."""

from __future__ import annotations

from collections import Counter
from typing import Any

from app.api.contract.fields import FieldError
from app.api.contract.tenants import KeyIn, TenantIn
from app.api.handlers import tenants
from app.api.problems import ApiError, invalid, not_found, refused
from app.core.errors import CommandRefused
from app.dashboard.pages import endpoint_form
from app.dashboard.request import PageContext, PageRequest, PageResult, Redirect, TemplatePage, body_of
from app.profiles.catalog import PROFILES


async def list_(desk: PageContext, visit: PageRequest) -> PageResult:
    """All tenants that are registered or have endpoints."""
    return _list(desk, {"id": "", "name": "", "profile": "standard", "notify_emails": ""})


async def create(desk: PageContext, visit: PageRequest) -> PageResult:
    """Register a tenant."""
    form = {name: visit.field(name) for name in ("id", "name", "profile", "notify_emails")}
    try:
        body = body_of(TenantIn, {**form, "notify_emails": _mails(form["notify_emails"])})
        await tenants.create(desk.api, visit.call(body))
    except ApiError as error:
        return _list(desk, form, error)
    except CommandRefused as refusal:
        return _list(desk, form, refused(refusal))
    return Redirect(to=f"/ui/tenants/{form['id']}?done=saved")


async def show(desk: PageContext, visit: PageRequest) -> PageResult:
    """One tenant with its keys."""
    return await _page(desk, visit)


async def change(desk: PageContext, visit: PageRequest) -> PageResult:
    """Save the fields of the form; other fields stay unchanged."""
    tenant = desk.api.feed.directory.tenants.get(visit.path["id"])
    brand = {name: visit.field(f"brand_{name}") for name in ("name", "color", "logo")}
    try:
        values: dict[str, Any] = {
            "id": visit.path["id"],
            "name": visit.field("name"),
            "profile": visit.field("profile"),
            "notify_emails": _mails(visit.field("notify_emails")),
            "brand": brand if any(brand.values()) else None,
            "open_catalogue": tenant.open_catalogue if tenant is not None else None,
            "metadata": endpoint_form.pairs("metadata", visit.field("metadata"), "="),
            "retention_days": _days(visit.field("retention_days")),
            "redact": visit.field("redact").split(),
        }
        body = body_of(TenantIn, values)
        if tenant is None:
            await tenants.create(desk.api, visit.call(body))
        else:
            await tenants.put(desk.api, visit.call(body))
    except ApiError as error:
        return await _page(desk, visit, error=error)
    except CommandRefused as refusal:
        return await _page(desk, visit, error=refused(refusal))
    return Redirect(to=f"/ui/tenants/{visit.path['id']}?done=saved")


async def delete(desk: PageContext, visit: PageRequest) -> PageResult:
    """Delete the tenant, after the user has typed its id."""
    if visit.field("confirm") != visit.path["id"]:
        error = invalid(FieldError(detail="type the id of the tenant to delete it", pointer="/confirm"))
        return await _page(desk, visit, error=error)
    try:
        await tenants.delete(desk.api, visit.call())
    except CommandRefused as refusal:
        return await _page(desk, visit, error=refused(refusal))
    return Redirect(to="/ui/tenants?done=tenant_deleted")


async def create_key(desk: PageContext, visit: PageRequest) -> PageResult:
    """Create a key. The next page shows it once."""
    values = {"mode": visit.field("mode"), "name": visit.field("name"), "scopes": list(visit.form.get("scopes", []))}
    try:
        answer = await tenants.create_key(desk.api, visit.call(body_of(KeyIn, values)))
    except ApiError as error:
        return await _page(desk, visit, error=error)
    return await _page(desk, visit, fresh=answer.body.key)


async def revoke_key(desk: PageContext, visit: PageRequest) -> PageResult:
    """Revoke the key."""
    await tenants.revoke_key(desk.api, visit.call())
    return Redirect(to=f"/ui/tenants/{visit.path['id']}?done=revoked")


def _list(desk: PageContext, form: dict[str, str], error: ApiError | None = None) -> TemplatePage:
    directory = desk.api.feed.directory
    counts = Counter({scope: len(directory.endpoints(*scope)) for scope in directory.scopes()})
    names = sorted({*directory.tenants, *(tenant for tenant, _ in counts)})
    rows = [(each, directory.tenants.get(each), counts[each, "live"], counts[each, "test"]) for each in names]
    values: dict[str, Any] = {"rows": rows, "form": form, "profiles": list(PROFILES)}
    if error is not None:
        values["errors"] = endpoint_form.errors(error)
    return TemplatePage(template="tenants.html", values=values, status=error.status if error is not None else 200)


async def _page(desk: PageContext, visit: PageRequest, *, fresh: Any = "", error: ApiError | None = None) -> PageResult:
    id_, directory = visit.path["id"], desk.api.feed.directory
    tenant = directory.tenants.get(id_)
    if tenant is None and not any(each == id_ for each, _ in directory.scopes()):
        raise not_found("tenant", id_)
    keys = sorted((each for each in directory.keys.values() if each.tenant == id_), key=lambda each: each.created_at_ms)
    form = {
        "name": tenant.name if tenant else "",
        "profile": tenant.profile if tenant else "standard",
        "notify_emails": ", ".join(tenant.notify_emails) if tenant else "",
        "version": tenant.version if tenant else "",
        "brand": tenant.brand if tenant else None,
        "metadata": "\n".join(f"{name}={value}" for name, value in tenant.metadata.items()) if tenant else "",
        "retention_days": tenant.retention_days or "" if tenant else "",
        "redact": "\n".join(tenant.redact) if tenant else "",
    }
    values: dict[str, Any] = {
        "id": id_,
        "tenant": tenant,
        "keys": keys,
        "fresh": fresh,
        "form": form,
        "profiles": list(PROFILES),
    }
    if error is not None:
        values["errors"] = endpoint_form.errors(error)
    return TemplatePage(template="tenant.html", values=values, status=error.status if error is not None else 200)


def _days(text: str) -> int | None:
    text = text.strip()
    if text and not (text.isascii() and text.isdigit() and len(text) <= 6):
        raise invalid(FieldError(detail="a number of days", pointer="/retention_days"))
    return int(text) if text else None


def _mails(text: str) -> list[str]:
    addresses = text.replace(",", " ").split()
    wrong = [each for each in addresses if "@" not in each]
    if wrong:
        raise invalid(FieldError(detail=f"{wrong[0]!r} is no e-mail address", pointer="/notify_emails"))
    return addresses
