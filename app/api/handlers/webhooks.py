"""Endpoints: create, list, show, change and remove them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import msgspec
import structlog
from msgspec import UNSET

from app.api.contract.fields import FieldError
from app.api.contract.webhooks import (
    CircuitOut,
    Recoverable,
    SecretInfo,
    UnverifiedOut,
    Webhook,
    WebhookIn,
    WebhookPatch,
)
from app.api.handlers.custom_headers import changed_headers, sealed_headers
from app.api.handlers.filters import check_filter
from app.api.handlers.handshakes import make_handshake
from app.api.handlers.receiver_auth import changed_auth, check_conflict, sealed_auth
from app.api.handlers.shape_settings import SHAPE_SETTINGS, check_shape
from app.api.handlers.signing_keys import changed_keys, first_keys, public_keys
from app.api.handlers.subscriptions import subscription
from app.api.handlers.suspension import offsets_of_pause, reactivate, suspend
from app.api.pagination import page
from app.api.problems import ApiError, invalid, not_found, reused
from app.api.request import ApiRequest, ApiResponse, ApiServices
from app.core.errors import CommandRefused, ConfigError
from app.core.model.endpoint import Endpoint, SealedSecret, ShownStatus, last_disablement
from app.core.model.endpoint_settings import NAMES
from app.core.model.ids import endpoint_id, recovery_id
from app.core.model.receiver_auth import NoAuth
from app.core.model.sensitive_headers import masked
from app.core.model.timestamps import iso
from app.core.records.command import CreateEndpoint, RemoveEndpoint, UpdateEndpoint
from app.core.records.ordered import step
from app.core.topics.names import TopicName
from app.profiles.catalog import PROFILES
from app.profiles.contract import Profile
from app.profiles.policy import effective

logger = structlog.get_logger(__name__)
#: a repeated request shows a secret again for that long
_SHOWN_MS = 24 * 3_600_000


async def create(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """Register an endpoint. With an Idempotency-Key its id is a function of the key, so a repetition finds it."""
    body: WebhookIn = call.body
    key = call.idempotency_key
    id_ = endpoint_id(call.caller.tenant, call.caller.mode, key) if key else api.minter.id("ep")
    endpoint = owned(api, call, id_) if key and api.feed.directory.endpoint(id_) else None
    if endpoint is None:
        try:
            built = _built(api, call, id_, body)
            begin, dead_begin = await offsets_of_pause(api, id_) if built.verification != "none" else ({}, 0)
            await api.command(CreateEndpoint(built, begin, dead_begin), id_)
        except CommandRefused as error:
            if error.code != "exists" or not key:
                raise
            await api.feed.catch_up()
        endpoint = owned(api, call, id_)
    if key and endpoint.created_by != (key, call.fingerprint):
        raise reused()
    if not body.active and endpoint.status != "disabled" and endpoint.version == 1:
        endpoint = await suspend(api, endpoint, "disabled", "registered as inactive")
    if endpoint.unverified is not None and endpoint.unverified.last_at_ms is None and endpoint.status == "paused":
        endpoint = await _verified(api, call, endpoint)
    return with_secret(api, endpoint, call.keyed("create"), {"Location": f"/v1/webhooks/{id_}"})


async def list_(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """All endpoints of the key's tenant and mode, oldest first."""
    status = call.query.get("status")
    if status not in (None, *get_args(ShownStatus)):
        raise ApiError(400, "invalid_query", "status: active, paused, disabled or unverified")
    mine = api.feed.directory.endpoints(call.caller.tenant, call.caller.mode)
    chosen = sorted((each for each in mine if status in (None, each.shown_status)), key=_order)
    return ApiResponse(body=page(call, chosen, _order, lambda each: present_endpoint(api, each)))


async def get(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """One endpoint."""
    endpoint = owned(api, call)
    return ApiResponse(body=present_endpoint(api, endpoint), headers=_tagged(endpoint))


async def patch(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """Change the fields that the body names."""
    body: WebhookPatch = call.body
    endpoint = owned(api, call)
    expected = call.expected_version()
    named = [name for name in NAMES if getattr(body, name) is not UNSET]
    changes: dict[str, Any] = {name: getattr(body, name) for name in named if name != "events"}
    if isinstance(changes.get("filter"), dict):
        check_filter(changes["filter"])
    check_shape(changes)
    if "events" in named:
        changes["events"] = list(subscription(api, endpoint.tenant, endpoint.mode, endpoint.profile, body.events))
    if changes:
        changes = changed_auth(api, endpoint, changed_headers(api, endpoint, changes))
        changes = changed_keys(api, endpoint, changes)
        makes_key = "signing_keys" in changes  # two at once would replace each other's
        only = endpoint.version if makes_key and expected is None else expected
        endpoint, expected = await _changed(api, call, endpoint, msgspec.to_builtins(changes), only), None
    elif expected not in (None, endpoint.version):
        raise ApiError(412, "conflict", f"endpoint {endpoint.id} has version {endpoint.version}, not {expected}")
    if body.active is False:
        endpoint = await suspend(api, endpoint, "disabled", "disabled through the API", expected)
    elif body.active is True and endpoint.status == "disabled":
        endpoint = await reactivate(api, endpoint, expected)
    return ApiResponse(body=present_endpoint(api, endpoint), headers=_tagged(endpoint))


async def _changed(
    api: ApiServices, call: ApiRequest, old: Endpoint, changes: dict[str, Any], expected: int | None
) -> Endpoint:
    """The endpoint after a change. If its receiver has to agree first, or again, it is asked at once."""
    asks = changes.get("verification", old.verification) != "none" and {"url", "verification"} & changes.keys()
    begin, dead_begin = await offsets_of_pause(api, old.id) if asks else ({}, 0)
    await api.command(UpdateEndpoint(old.id, changes, expected, begin, dead_begin), old.id)
    endpoint = owned(api, call, old.id)
    if endpoint.unverified is not None and endpoint.unverified.version == endpoint.version:
        return await _verified(api, call, endpoint)
    mark = old.unverified
    if mark is not None and mark.resumes and endpoint.unverified is None and endpoint.status == "paused":
        return await reactivate(api, endpoint)  # it need not be verified any more
    return endpoint


async def _verified(api: ApiServices, call: ApiRequest, endpoint: Endpoint) -> Endpoint:
    """The endpoint after a handshake; without one, if there were too many of them or this machine could not send."""
    try:
        await make_handshake(api, endpoint)
    except ApiError as error:
        logger.info("webhook.handshake_left_out", endpoint=endpoint.id, reason=error.code)
    return owned(api, call, endpoint.id)


async def delete(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """Remove the endpoint; its pending deliveries are cancelled."""
    endpoint = owned(api, call)
    await api.command(RemoveEndpoint(endpoint.id, call.expected_version()), endpoint.id)
    ordered, key = api.topics.name(TopicName.DELIVERIES_ORDERED), endpoint.id.encode()
    await api.log.append(ordered, key=key, value=None, headers=step("open"))  # its lines are not needed any more
    return ApiResponse()


def owned(api: ApiServices, call: ApiRequest, id_: str | None = None) -> Endpoint:
    """The caller's endpoint of that id or uid; 404 for other tenants' endpoints."""
    name = id_ or call.path["id"]
    endpoint = api.feed.directory.endpoint_named(call.caller.tenant, call.caller.mode, name)
    if endpoint is None:
        raise not_found("webhook", name)
    return endpoint


def sealed(api: ApiServices, signer: Profile, id_owner: str, plain: str, pointer: str = "/secret") -> SealedSecret:
    """The sealed secret for the registry. Raises `ApiError` if the profile cannot use it."""
    try:
        signer.key(plain)
    except ConfigError as error:
        raise invalid(FieldError(detail="; ".join(error.problems), pointer=pointer)) from error
    return api.keyring.seal(plain, id_owner, api.clock.now_ms())


def with_secret(
    api: ApiServices, endpoint: Endpoint, request: str | None, headers: Mapping[str, str] | None = None
) -> ApiResponse:
    """The answer to the request that made the newest secret of an endpoint.

    A repetition shows the secret, since the first answer may have been lost: to the same caller, within a day, and not
    after another rotation. Everybody else who repeats it gets the endpoint and a hint.
    """
    sent = _tagged(endpoint) | dict(headers or {})

    def answer() -> ApiResponse:
        hint = _secret_hint(api, endpoint, request)
        if hint is not None:
            return ApiResponse(body=present_endpoint(api, endpoint, hint=hint), headers=sent)
        secret = api.keyring.open(endpoint.secrets[0], endpoint.secret_owner) if endpoint.secrets else UNSET
        return ApiResponse(body=present_endpoint(api, endpoint, secret), headers=sent)

    return msgspec.structs.replace(answer(), again=answer)


def _secret_hint(api: ApiServices, endpoint: Endpoint, request: str | None) -> str | None:
    if not endpoint.secrets:
        return None
    current = api.feed.directory.endpoint(endpoint.id)
    newest = current.secrets[0].blob if current is not None and current.secrets else ""
    if newest != endpoint.secrets[0].blob or endpoint.rotated_by != request:
        return "the secret was rotated, or another key made it: rotate-secret makes a new one"
    if api.clock.now_ms() - endpoint.secrets[0].created_at_ms > _SHOWN_MS:
        return "the secret was shown more than a day ago: rotate-secret makes a new one"
    return None


def profile_named(name: str, pointer: str) -> Profile:
    """A profile that a body names."""
    profile = PROFILES.get(name)
    if profile is None:
        raise invalid(FieldError(detail=f"{name!r} is unknown: one of {', '.join(PROFILES)}", pointer=pointer))
    return profile


def _built(api: ApiServices, call: ApiRequest, id_: str, body: WebhookIn) -> Endpoint:
    caller = call.caller
    tenant = api.feed.directory.tenants.get(caller.tenant)
    profile = profile_named(body.profile or (tenant.profile if tenant else "standard"), "/profile")
    signer = profile_named(body.signature, "/signature") if body.signature else profile
    if body.unsigned and (body.secret is not None or signer.secret_required):
        detail = "excludes a secret" if body.secret is not None else f"profile {signer.name} always signs"
        raise invalid(FieldError(detail=detail, pointer="/unsigned"))
    if body.filter is not None:
        check_filter(body.filter)
    check_shape({name: getattr(body, name) for name in SHAPE_SETTINGS})
    plain = None if body.unsigned else body.secret or api.minter.secret()
    owner = f"{caller.tenant}/{id_}"
    headers = sealed_headers(api, body.headers, owner, marked=body.sensitive_headers or ())
    check_conflict(body.auth, body.headers, body.url)
    auth = sealed_auth(api, body.auth, owner)
    return Endpoint(
        id=id_,
        tenant=caller.tenant,
        mode=caller.mode,
        profile=profile.name,
        **{name: getattr(body, name) for name in NAMES if name not in ("events", "headers", "auth")},
        headers=headers.headers,
        sealed_headers=headers.sealed,
        **auth._asdict(),
        events=subscription(api, caller.tenant, caller.mode, profile.name, body.events),
        secrets=(sealed(api, signer, owner, plain),) if plain else (),
        signing_keys=first_keys(api, signer, body.signature_scheme, body.signing_key, owner),
        created_by=(call.idempotency_key, call.fingerprint) if call.idempotency_key else None,
        rotated_by=call.keyed("create"),
    )


def effective_settings(endpoint: Endpoint) -> dict[str, Any]:
    """The settings of an endpoint as the API shows them: those that apply where it has none of its own."""
    own = {name: getattr(endpoint, name) for name in NAMES}
    if endpoint.kind == "pull":
        return own | {"auth": NoAuth()}
    profile = PROFILES[endpoint.profile]
    rule = effective(profile.disable, endpoint)
    return own | {
        "headers": masked(endpoint.headers, endpoint.sensitive_headers or ()),
        "auth": endpoint.auth or NoAuth(),
        "schedule": endpoint.schedule or profile.schedule_s,
        "timeout": endpoint.timeout or profile.timeout_s,
        "disable_after_failures": rule.consecutive_failures,
        "disable_after_days": rule.failing_days,
    }


def present_endpoint(api: ApiServices, endpoint: Endpoint, secret: Any = UNSET, hint: Any = UNSET) -> Webhook:
    """An endpoint as the API shows it."""
    return Webhook(
        **effective_settings(endpoint),
        id=endpoint.id,
        profile=endpoint.profile,
        status=endpoint.shown_status,
        status_reason=endpoint.status_reason,
        mode=endpoint.mode,
        failing_since=_moment(endpoint.failing_since_ms),
        disable_at=_moment(endpoint.disable_at_ms),
        auth_expires_at=_moment(endpoint.auth_expires_at_ms),
        circuit=_circuit(endpoint, api.clock.now_ms()),
        unverified=_unverified(endpoint),
        secrets=[_info(each, endpoint.updated_at_ms) for each in endpoint.secrets],
        signing_keys=public_keys(endpoint, api.clock.now_ms()),
        recoverable=_recoverable(api, endpoint),
        version=endpoint.version,
        created_at=iso(endpoint.created_at_ms),
        updated_at=iso(endpoint.updated_at_ms),
        secret=secret,
        secret_hint=hint,
    )


def _circuit(endpoint: Endpoint, now_ms: int) -> CircuitOut:
    mark = endpoint.circuit
    if mark is None:
        return CircuitOut(state="closed", since=None, next_probe_at=None)
    state: Literal["open", "half_open"] = "open" if now_ms < mark.probe_at_ms else "half_open"
    return CircuitOut(state=state, since=iso(mark.since_ms), next_probe_at=iso(mark.probe_at_ms))


def _unverified(endpoint: Endpoint) -> UnverifiedOut | None:
    mark = endpoint.unverified
    if mark is None:
        return None
    return UnverifiedOut(
        since=iso(mark.since_ms),
        last_at=_moment(mark.last_at_ms),
        last_result=mark.last_result,
        last_error=mark.last_error,
    )


def _moment(at_ms: int | None) -> str | None:
    return iso(at_ms) if at_ms is not None else None


def _info(secret: SealedSecret, changed_ms: int) -> SecretInfo:
    until = secret.expires_at_ms
    return SecretInfo(
        created_at=iso(secret.created_at_ms),
        expires_at=iso(until) if until is not None else None,
        active=until is None or until > changed_ms,
    )


def _recoverable(api: ApiServices, endpoint: Endpoint) -> Recoverable | None:
    hold = last_disablement(endpoint)
    if endpoint.status != "active" or hold is None or hold.end is None:
        return None
    if recovery_id(endpoint.id, hold.since_ms) in api.feed.directory.replays:
        return None
    records = sum(end - hold.begin.get(partition, 0) for partition, end in hold.end.items())
    return Recoverable(since=iso(hold.since_ms), records_at_most=records)


def _order(endpoint: Endpoint) -> str:
    return f"{endpoint.created_at_ms:015}/{endpoint.id}"


def _tagged(endpoint: Endpoint) -> dict[str, str]:
    return {"ETag": f'"{endpoint.version}"'}
