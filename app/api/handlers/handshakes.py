"""Handshakes with receivers: what asks them for their agreement to deliveries, and what their answer means.

`challenge` posts a value that the receiver returns. `cloudevents` is the validation request of CloudEvents HTTP Web
Hooks 1.0, section 4. Both are sent past all queues, as a test is, and recorded in `attempts` as one.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterator
from urllib.parse import urlencode, urlsplit

import msgspec

from app.api.problems import ApiError
from app.api.request import ApiServices
from app.core.errors import ConfigError, Defect, Hindered, Unrepresentable
from app.core.model import ids
from app.core.model.clipping import clip
from app.core.model.delivery import Delivery
from app.core.model.endpoint import Endpoint
from app.core.model.http_exchange import HttpFailure, HttpOutcome, HttpReply, HttpRequest
from app.core.model.timestamps import iso
from app.core.records import attempt
from app.core.records.command import RecordHandshake
from app.core.topics.names import TopicName
from app.profiles.requests import USER_AGENT
from app.roles.dispatch.attempts import sent
from app.roles.dispatch.verdict import Dead, Delivered

#: the path to which a receiver's callback leads
CALLBACK_PATH = "/agreement"
#: handshakes of one endpoint without an agreement within an hour
MAX_HANDSHAKES = 10
_HOUR_MS = 3_600_000
#: seconds for one handshake
_TIMEOUT_S = 10.0
#: bytes of JSON of a sentence that may quote the receiver
_MAX_DETAIL = 1024
#: the event type of a challenge, and of the records of handshakes
EVENT_TYPE = "webhook.verification"
_RATE = re.compile(r"[1-9][0-9]{0,8}")


class Agreement(msgspec.Struct, frozen=True):
    """What an answer means."""

    agreed: bool
    #: one word: agreed, declined, waiting, bad_rate, wrong_challenge, or an outcome such as timeout
    result: str
    #: one sentence; None: it agreed
    detail: str | None = None
    #: requests per second that are permitted; None: no limit, or none is named
    rate_limit: float | None = None


async def make_handshake(api: ApiServices, endpoint: Endpoint) -> Agreement:
    """Ask an unverified endpoint's receiver, and record its answer in the registry and in `attempts`.

    Raises `ApiError`: 429 after too many handshakes, 503 if this machine could not send.
    """
    mark = endpoint.unverified
    if mark is None:
        raise ApiError(409, "verified", f"webhook {endpoint.id} need not be verified")
    now_ms = api.clock.now_ms()
    if mark.attempts >= MAX_HANDSHAKES and now_ms - mark.counted_from_ms < _HOUR_MS:
        raise ApiError(
            429,
            "too_many_handshakes",
            f"{MAX_HANDSHAKES} handshakes within an hour brought no agreement",
            headers={"Retry-After": str(-(-(mark.counted_from_ms + _HOUR_MS - now_ms) // 1000))},
        )
    challenge = api.minter.id("chl")
    delivery = _delivery(api, endpoint, challenge, now_ms)
    by_options = endpoint.verification == "cloudevents"
    try:
        request = options(api, endpoint) if by_options else _challenge(api, endpoint, delivery, challenge, now_ms)
        outcome = await api.sender.send(request)
    except Hindered as error:
        raise ApiError(503, "hindered", f"nothing was sent, for a reason of the service's own: {error}") from error
    except Unrepresentable as error:
        raise ApiError(409, "unrepresentable", f"the challenge cannot be sent: {error.detail}") from error
    except (ConfigError, Defect) as error:
        raise ApiError(409, "secret_unreadable", f"the endpoint's secret cannot be used: {error}") from error
    answer = read_options(outcome, origin_of(api)) if by_options else read_challenge(outcome, challenge)
    await _note(api, delivery, endpoint, outcome, answer, now_ms)
    await record(api, endpoint, answer)
    return answer


async def record(api: ApiServices, endpoint: Endpoint, answer: Agreement) -> None:
    """Write an answer to the registry; an agreement resumes the endpoint."""
    assert endpoint.unverified is not None
    action = RecordHandshake(
        id=endpoint.id,
        version=endpoint.unverified.version,
        agreed=answer.agreed,
        result=answer.result,
        error=_brief(answer.detail),
        rate_limit=answer.rate_limit,
        origin=origin_of(api) if endpoint.verification == "cloudevents" else None,
        end=dict(await api.ends.ends(api.topics.name(TopicName.EVENTS_RAW))) if answer.agreed else {},
        replay_id=api.minter.id("rpl"),
    )
    await api.command(action, endpoint.id)


def options(api: ApiServices, endpoint: Endpoint) -> HttpRequest:
    """The validation request. It asks for the endpoint's rate, and names a callback if the service has an address."""
    headers = [("user-agent", USER_AGENT), ("webhook-request-origin", origin_of(api))]
    if api.public_url:
        query = urlencode({"endpoint": endpoint.id, "key": callback_key(api, endpoint)})
        headers.append(("webhook-request-callback", f"{api.public_url.rstrip('/')}{CALLBACK_PATH}?{query}"))
    if endpoint.rate_limit is not None:
        headers.append(("webhook-request-rate", str(max(1, int(endpoint.rate_limit * 60)))))
    return HttpRequest(
        url=endpoint.url, headers=tuple(headers), body=b"", timeout_s=_timeout_s(endpoint), method="OPTIONS"
    )


def origin_of(api: ApiServices) -> str:
    """The name of this service in handshakes: the host of its public address."""
    return urlsplit(api.public_url).hostname or "hookstream"


def callback_key(api: ApiServices, endpoint: Endpoint) -> str:
    """The secret of the callback URL: it belongs to one endpoint and one URL, and cannot be guessed."""
    return api.tokens.proof("agreement", _subject(endpoint))


def is_callback_key(api: ApiServices, endpoint: Endpoint, key: str) -> bool:
    """Whether `key` is the endpoint's."""
    return api.tokens.proves("agreement", _subject(endpoint), key)


def _subject(endpoint: Endpoint) -> str:
    return f"{endpoint.id}/{endpoint.epoch}"


def read_options(outcome: HttpOutcome, origin: str) -> Agreement:
    """What the answer to a validation request means; its status does not matter, as the specification says."""
    if isinstance(outcome, HttpFailure):
        return Agreement(False, outcome.kind, outcome.detail)
    allowed = list(_values(outcome, "webhook-allowed-origin"))
    if not allowed:
        sentence = f"status {outcome.status} without WebHook-Allowed-Origin: the receiver may still agree by callback"
        return Agreement(False, "waiting", sentence)
    origins = {each.strip().lower() for value in allowed for each in value.split(",")}
    if origins.isdisjoint(("*", origin.lower())):
        return Agreement(False, "declined", f"WebHook-Allowed-Origin is {', '.join(allowed)[:200]}, not {origin} or *")
    return read_rate(list(_values(outcome, "webhook-allowed-rate")))


def read_rate(rates: list[str]) -> Agreement:
    """The agreement with the values of WebHook-Allowed-Rate, in requests per minute; none: the rate asked for."""
    if not rates or rates == ["*"]:
        return Agreement(True, "agreed")
    if len(rates) > 1 or not _RATE.fullmatch(rates[0]):
        return Agreement(False, "bad_rate", "WebHook-Allowed-Rate is neither a positive integer nor *")
    return Agreement(True, "agreed", rate_limit=int(rates[0]) / 60)


class _Echo(msgspec.Struct):
    challenge: str


_echo = msgspec.json.Decoder(_Echo)


def read_challenge(outcome: HttpOutcome, challenge: str) -> Agreement:
    """What the answer to a challenge means: its body is the challenge, or JSON with the field `challenge`."""
    if isinstance(outcome, HttpFailure):
        return Agreement(False, outcome.kind, outcome.detail)
    if not 200 <= outcome.status < 300:
        return Agreement(False, f"http_{outcome.status}", f"the receiver answered {outcome.status}")
    if not any(hmac.compare_digest(text, challenge.encode()) for text in _echoes(outcome)):
        return Agreement(False, "wrong_challenge", "the answer's body is neither the challenge nor JSON with it")
    return Agreement(True, "agreed")


def _echoes(reply: HttpReply) -> Iterator[bytes]:
    yield reply.body.strip()
    try:
        yield _echo.decode(reply.body).challenge.encode("utf-8", "replace")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return


def _values(reply: HttpReply, name: str) -> Iterator[str]:
    return (value.strip() for each, value in reply.headers if each.lower() == name)


def _brief(detail: str | None) -> str | None:
    return clip(detail, _MAX_DETAIL) if detail is not None else None


def _timeout_s(endpoint: Endpoint) -> float:
    return min(endpoint.timeout or _TIMEOUT_S, _TIMEOUT_S)


def _challenge(api: ApiServices, endpoint: Endpoint, delivery: Delivery, challenge: str, now_ms: int) -> HttpRequest:
    """A signed event like any other, with the challenge in its data and in a header."""
    plain = msgspec.structs.replace(endpoint, envelope="profile", include_fields=None, transform=None)
    built = api.builder.request(delivery, plain, api.builder.prepared(plain, now_ms), now_ms)
    headers = (*built.headers, ("webhook-challenge", challenge))
    return msgspec.structs.replace(built, headers=headers, timeout_s=_timeout_s(endpoint))


def _delivery(api: ApiServices, endpoint: Endpoint, challenge: str, now_ms: int) -> Delivery:
    event_id = api.minter.id("evt_verification")
    body = msgspec.json.encode({"type": EVENT_TYPE, "id": event_id, "data": {"challenge": challenge}})
    return Delivery(
        id=ids.delivery_id(endpoint.tenant, event_id, endpoint.id),
        endpoint_id=endpoint.id,
        event_id=event_id,
        event_type=EVENT_TYPE,
        tenant=endpoint.tenant,
        mode=endpoint.mode,
        created_at=iso(now_ms),
        body=body,
        accepted_at_ms=now_ms,
    )


async def _note(
    api: ApiServices, delivery: Delivery, endpoint: Endpoint, outcome: HttpOutcome, answer: Agreement, started_ms: int
) -> None:
    """Append the handshake to `attempts`, without the answer's text: it may repeat the callback's key."""
    verdict = Delivered() if answer.agreed else Dead("test")
    made = sent(delivery, endpoint, outcome, verdict, started_ms=started_ms, ended_ms=api.clock.now_ms())
    shown = msgspec.structs.replace(
        made,
        trigger="test",
        result="not_agreed" if made.result == "ok" and not answer.agreed else made.result,
        error=_brief(answer.detail),
        response_body=None,
        response_headers=None,
        cut=(),
    )
    topic = api.topics.name(TopicName.ATTEMPTS)
    await (await api.log.append(topic, key=endpoint.id.encode(), value=attempt.encode(shown)))
