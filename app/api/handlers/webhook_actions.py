"""Actions on an endpoint: test, pause, resume, enable, disable, rotate the secret, recover."""

from __future__ import annotations

import msgspec

from app.api.contract.fields import FieldError
from app.api.contract.webhooks import (
    RotateIn,
    RotateKeyIn,
    TestIn,
    TestOut,
    TestRequest,
    TestResponse,
    TestTiming,
    VerifyOut,
)
from app.api.handlers import audit, replays, webhook_test_tracing
from app.api.handlers.handshakes import make_handshake
from app.api.handlers.signing_keys import sealed_key
from app.api.handlers.suspension import reactivate, suspend
from app.api.handlers.webhooks import owned, present_endpoint, sealed, with_secret
from app.api.problems import ApiError, invalid
from app.api.request import ApiRequest, ApiResponse, ApiServices
from app.core.errors import ConfigError, Defect, Hindered, MalformedEvent, TransformFailed, Unrepresentable
from app.core.model import ids
from app.core.model.delivery import Delivery
from app.core.model.endpoint import Endpoint, last_disablement
from app.core.model.event_types import includes, is_event_type
from app.core.model.http_exchange import HttpOutcome, HttpReply, HttpRequest, TokenGrant
from app.core.model.receiver_auth import MASK, header_of
from app.core.model.sensitive_headers import is_sensitive
from app.core.model.timestamps import iso
from app.core.records.attempt import Attempt
from app.core.records.command import RecoverEndpoint, RotateSecret, RotateSigningKey
from app.core.records.raw_event import Coordinates, decode_event
from app.core.topics.names import TopicName
from app.profiles.catalog import PROFILES
from app.roles.dispatch.attempts import sent
from app.roles.dispatch.verdict import Dead, Delivered, Verdict, result_of

#: characters of a body that an answer shows
_SHOWN = 4096


async def pause(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """Pause an endpoint: its deliveries are parked until it is resumed."""
    endpoint = owned(api, call)
    if endpoint.status == "disabled":
        raise ApiError(409, "disabled", f"webhook {endpoint.id} is disabled: enable it first")
    return _answer(api, await suspend(api, endpoint, "paused", "paused through the API", call.expected_version()))


async def resume(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """Resume an endpoint, beginning with the deliveries that were parked during the pause."""
    endpoint = owned(api, call)
    if endpoint.status == "disabled":
        raise ApiError(409, "disabled", f"webhook {endpoint.id} is disabled: enable it")
    _refuse_unverified(endpoint, "its receiver's agreement resumes it")
    return _answer(api, await reactivate(api, endpoint, call.expected_version()))


async def verify(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """Ask the endpoint's receiver whether it agrees to deliveries."""
    endpoint = owned(api, call)
    answer = await make_handshake(api, endpoint)
    return ApiResponse(
        body=VerifyOut(
            agreed=answer.agreed,
            result=answer.result,
            reason=answer.detail,
            webhook=present_endpoint(api, owned(api, call, endpoint.id)),
        ),
        transient=True,
    )


def _refuse_unverified(endpoint: Endpoint, why: str) -> None:
    if endpoint.unverified is not None:
        raise ApiError(409, "unverified", f"webhook {endpoint.id} is unverified: verify it first, {why}")


async def disable(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """Disable an endpoint: events are not delivered, and not parked either."""
    endpoint = owned(api, call)
    return _answer(api, await suspend(api, endpoint, "disabled", "disabled through the API", call.expected_version()))


async def enable(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """Enable an endpoint; `recoverable` in the response describes the missed events."""
    return _answer(api, await reactivate(api, owned(api, call), call.expected_version()))


async def recover(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """Deliver the events missed while the endpoint was disabled."""
    endpoint = owned(api, call)
    missed = last_disablement(endpoint)
    replay_id = ids.recovery_id(endpoint.id, missed.since_ms if missed else 0)
    await api.command(RecoverEndpoint(endpoint.id, replay_id), endpoint.id)
    return ApiResponse(body=replays.present_replay(api.feed.directory.replays[replay_id]))


async def rotate(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """Replace the secret. A repetition with the same Idempotency-Key returns the same secret from any process."""
    body: RotateIn = call.body or RotateIn()
    endpoint = owned(api, call)
    signer = PROFILES[endpoint.signer]
    if body.remove and (body.secret is not None or signer.secret_required):
        detail = "excludes a secret" if body.secret is not None else f"profile {signer.name} always signs"
        raise invalid(FieldError(detail=detail, pointer="/remove"))
    plain = None if body.remove else body.secret or api.minter.secret()
    secret = sealed(api, signer, endpoint.secret_owner, plain) if plain else None
    now_ms = api.clock.now_ms()
    action = RotateSecret(
        endpoint.id,
        secret,
        now_ms + body.overlap * 1000,
        key=call.keyed("rotate"),
        expected_version=call.expected_version(),
    )
    await api.command(action, endpoint.id)
    return with_secret(api, owned(api, call, endpoint.id), action.key)


async def rotate_key(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """Replace the signing key, or make the first one. A repetition with the same Idempotency-Key changes nothing."""
    body: RotateKeyIn = call.body or RotateKeyIn()
    endpoint = owned(api, call)
    action = RotateSigningKey(
        endpoint.id,
        sealed_key(api, body.signing_key, endpoint.secret_owner),
        api.clock.now_ms() + body.overlap * 1000,
        key=call.keyed("rotate-key"),
        expected_version=call.expected_version(),
    )
    await api.command(action, endpoint.id)
    return _answer(api, owned(api, call))


async def test(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """Send one test event at once, whatever the endpoint's status, and return the outcome. Not to an unverified one."""
    body: TestIn = call.body or TestIn()
    endpoint = owned(api, call)
    _refuse_unverified(endpoint, "nothing else is sent to it")
    if endpoint.kind == "pull":
        detail = f"webhook {endpoint.id} has no URL: append an event to try it, or look at a preview"
        raise ApiError(409, "pull_endpoint", detail)
    started_ms = api.clock.now_ms()
    delivery = webhook_test_tracing.in_trace(call, test_delivery(api, endpoint, body, started_ms))
    try:
        prepared = api.builder.prepared(endpoint, started_ms)
        request = api.builder.request(webhook_test_tracing.as_sent(api, delivery), endpoint, prepared, started_ms)
    except Unrepresentable as error:
        raise invalid(FieldError(detail=error.detail, pointer=f"/data{error.pointer}")) from error
    except TransformFailed as error:
        raise ApiError(409, "transform_failed", f"the endpoint's transform has no result: {error}") from error
    except (ConfigError, Defect) as error:
        raise ApiError(409, "secret_unreadable", f"the endpoint's secret cannot be used: {error}") from error
    await audit.record(api, endpoint, "endpoint.test", f"endpoint/{endpoint.id}", detail=delivery.event_type)
    try:
        outcome = await api.sender.send(request)
    except Hindered as error:
        raise ApiError(503, "hindered", f"nothing was sent, for a reason of the service's own: {error}") from error
    ended_ms = api.clock.now_ms()
    ok = result_of(outcome) == "ok"
    verdict: Verdict = Delivered() if ok else Dead("test")
    webhook_test_tracing.export(
        api, call, delivery, endpoint, outcome, verdict, started_ms=started_ms, ended_ms=ended_ms
    )
    record = sent(delivery, endpoint, outcome, verdict, started_ms=started_ms, ended_ms=ended_ms)
    await _keep(api, msgspec.structs.replace(record, trigger="test"))
    return ApiResponse(body=_present_test(endpoint, delivery, request, outcome, record), transient=True)


async def _keep(api: ApiServices, record: Attempt) -> None:
    topic = api.topics.name(TopicName.ATTEMPTS)
    key = record.endpoint_id.encode()
    await (await api.log.append(topic, key=key, value=msgspec.json.encode(record)))


def test_delivery(api: ApiServices, endpoint: Endpoint, body: TestIn, now_ms: int) -> Delivery:
    """The delivery of a test event, or of an example. Raises `ApiError` 422."""
    event_type = body.type or _first_type(api, endpoint)
    if not is_event_type(event_type):
        raise invalid(FieldError(detail=f"{event_type!r} is not a valid event type", pointer="/type"))
    data = bytes(body.data) if isinstance(body.data, msgspec.Raw) else _example(api, endpoint, event_type)
    event_id = api.minter.id("evt_test")
    value = b'{"type":"%b","id":"%b","data":%b}' % (event_type.encode(), event_id.encode(), data)
    try:
        event = decode_event(value, (), Coordinates("test", 0, 0, now_ms), max_bytes=api.max_event_bytes)
    except MalformedEvent as error:
        raise invalid(FieldError(detail=error.detail, pointer="/data")) from error
    return Delivery(
        id=ids.delivery_id(endpoint.tenant, event_id, endpoint.id),
        endpoint_id=endpoint.id,
        event_id=event_id,
        event_type=event_type,
        tenant=endpoint.tenant,
        mode=endpoint.mode,
        created_at=iso(now_ms),
        body=event.body,
        accepted_at_ms=now_ms,
    )


def _first_type(api: ApiServices, endpoint: Endpoint) -> str:
    exact = next((each for each in endpoint.events if is_event_type(each)), None)
    entries = api.catalogue.get(endpoint.profile, {})
    opt_in = PROFILES[endpoint.profile].opt_in
    wide = (name for name in entries if any(includes(each, name, opt_in) for each in endpoint.events))
    return exact or next(wide, None) or "test.event"


def _example(api: ApiServices, endpoint: Endpoint, event_type: str) -> bytes:
    entry = api.catalogue.get(endpoint.profile, {}).get(event_type)
    return entry.examples[0] if entry else b'{"test":true}'


def shown_headers(endpoint: Endpoint, request: HttpRequest) -> dict[str, str]:
    """A request's headers, with a mask for sensitive values."""
    own = (
        {name for name in endpoint.headers if is_sensitive(name, endpoint.sensitive_headers or ())}
        | set(endpoint.sealed_headers)
        | {header_of(endpoint.auth)}
    )
    token = {"Authorization": MASK} if isinstance(request.credential, TokenGrant) else {}
    return {name: MASK if name in own else value for name, value in request.headers} | token


def _present_test(
    endpoint: Endpoint, delivery: Delivery, request: HttpRequest, outcome: HttpOutcome, record: Attempt
) -> TestOut:
    reply = outcome if isinstance(outcome, HttpReply) else None
    body = reply.body[:_SHOWN].decode("utf-8", "replace") if reply else None
    return TestOut(
        ok=record.result == "ok",
        status=record.status,
        body=body,
        result=record.result,
        reason=record.error,
        event_id=delivery.event_id,
        time_ms=round(outcome.timing.total_ms, 3),
        timing=TestTiming(
            connect=round(outcome.timing.connect_ms, 3),
            first_byte=round(outcome.timing.first_byte_ms, 3),
            total=round(outcome.timing.total_ms, 3),
        ),
        request=TestRequest(headers=shown_headers(endpoint, request), body=request.body.decode("utf-8", "replace")),
        response=TestResponse(status=reply.status, headers=dict(reply.headers), body=body or "") if reply else None,
    )


def _answer(api: ApiServices, endpoint: Endpoint) -> ApiResponse:
    return ApiResponse(body=present_endpoint(api, endpoint), headers={"ETag": f'"{endpoint.version}"'})
