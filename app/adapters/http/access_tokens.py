"""OAuth 2.0 access tokens for requests to endpoints: fetched, cached and renewed (RFC 6749, client credentials).

The rules:

- One request to the token server of an endpoint at a time. Deliveries that need a token wait for it, each until its own
  deadline; a delivery that gives up does not end the request that others wait for.
- A token is renewed in the background before it expires, and once after the receiver has answered 401, since tokens can
  be revoked. The request with the new token is sent at once, with the same event id. A receiver that refuses new tokens
  too costs one more token within `FORCED_EVERY_S`.
- A failure is remembered for `RETRY_S`, so that the deliveries of a busy endpoint do not flood its token server.
- Token requests are sent as deliveries are: egress guard, proxy, trusted authorities, deadlines, bounds.
- The answer of a token server appears nowhere. Only its status and a registered error code are quoted.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Awaitable, Callable
from urllib.parse import quote, urlencode

import msgspec

from app.core.errors import Defect, Hindered
from app.core.model.http_exchange import HttpFailure, HttpOutcome, HttpReply, HttpRequest, HttpTiming, TokenGrant

#: seconds for one request to a token server
TIMEOUT_S = 10.0
#: seconds for which a failure stands for further requests
RETRY_S = 5.0
#: between two tokens that are fetched because a receiver answered 401, in seconds
FORCED_EVERY_S = 30.0
#: seconds that a token is used without `expires_in`, and at most
DEFAULT_LIFE_S, MAX_LIFE_S = 300.0, 86_400.0
#: a token is renewed when this part of its life is left, at most `RENEW_S`
RENEW_PART, RENEW_S = 0.2, 60.0
#: a token is not used for the last part of its life, since it has to arrive, at most `MARGIN_S`
MARGIN_PART, MARGIN_S = 0.1, 5.0
#: characters of a token
MAX_TOKEN = 8_192
#: endpoints whose tokens are cached
MAX_CACHED = 10_000

_USER_AGENT = "Hookstream/0.1 (+https://github.com/hookstream/hookstream)"
_VISIBLE = re.compile(r"[\x21-\x7e]+")
_NUMBER = re.compile(r"[0-9]{1,12}(\.[0-9]{1,6})?")
#: the codes of RFC 6749, and extensions that look like them
_CODE = re.compile(r"[a-z][a-z_]{0,39}")

_Send = Callable[[HttpRequest], Awaitable[HttpOutcome]]


class _Answer(msgspec.Struct):
    """RFC 6749, section 5.1."""

    access_token: str
    token_type: str = "Bearer"
    expires_in: int | float | str | None = None


class _ErrorAnswer(msgspec.Struct):
    """RFC 6749, section 5.2."""

    error: str = ""


class AccessToken(msgspec.Struct, frozen=True):
    """A token, and how many seconds it is valid."""

    text: str
    life_s: float


class _Slot:
    """The token of one endpoint. Times are those of the event loop."""

    __slots__ = ("failure", "forced_at", "grant", "renew_at", "retry_at", "task", "token", "until")

    def __init__(self, grant: TokenGrant) -> None:
        self.grant = grant
        self.token: str | None = None
        self.until = self.renew_at = self.retry_at = 0.0
        self.forced_at = float("-inf")
        self.failure: HttpFailure | None = None
        #: the request in progress
        self.task: asyncio.Task[str | HttpFailure | Hindered] | None = None


class AccessTokens:
    """Sends requests with an access token."""

    def __init__(self, send: _Send, now: Callable[[], float] | None = None) -> None:
        """`send` sends a request that needs no token; `now`: seconds of a monotonic clock, the event loop's."""
        self._send = send
        self._now = now or asyncio.get_running_loop().time
        self._slots: dict[str, _Slot] = {}

    async def send(self, request: HttpRequest, grant: TokenGrant) -> HttpOutcome:
        """Send a request with a token, within its timeout. A failure to get one is the outcome; raises `Hindered`."""
        begun = self._now()
        slot = self._slot(grant)
        token = await self._token(slot, request.timeout_s)
        if isinstance(token, HttpFailure):
            return token
        outcome = await self._with_token(request, token, begun)
        if not isinstance(outcome, HttpReply) or outcome.status != 401 or not self._drop(slot, token):
            return outcome
        renewed = await self._token(slot, request.timeout_s - (self._now() - begun))
        if isinstance(renewed, HttpFailure):
            remark = f"no new access token: {renewed.detail}"
            return msgspec.structs.replace(outcome, remarks=(*outcome.remarks, remark))
        return await self._with_token(request, renewed, begun)

    async def close(self) -> None:
        """End the requests in progress."""
        tasks = [slot.task for slot in self._slots.values() if slot.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _slot(self, grant: TokenGrant) -> _Slot:
        slot = self._slots.get(grant.owner)
        if slot is None or (slot.grant is not grant and slot.grant != grant):
            self._slots.pop(grant.owner, None)
            if len(self._slots) >= MAX_CACHED:
                del self._slots[next(iter(self._slots))]
            slot = self._slots[grant.owner] = _Slot(grant)
        return slot

    async def _with_token(self, request: HttpRequest, token: str, begun: float) -> HttpOutcome:
        left_s = request.timeout_s - (self._now() - begun)
        if left_s <= 0:
            return _late(request.timeout_s)
        headers = (*request.headers, ("Authorization", f"Bearer {token}"))
        return await self._send(msgspec.structs.replace(request, headers=headers, timeout_s=left_s, credential=None))

    async def _token(self, slot: _Slot, within_s: float) -> str | HttpFailure:
        """A token that is valid now, or why there is none."""
        now = self._now()
        if slot.token is not None and now < slot.until:
            if now >= slot.renew_at and now >= slot.retry_at:
                self._started(slot)
            return slot.token
        if slot.task is None and slot.failure is not None and now < slot.retry_at:
            return slot.failure
        task = self._started(slot)
        try:
            async with asyncio.timeout(max(0.0, within_s)):
                result = await asyncio.shield(task)
        except TimeoutError:
            return _late(max(0.0, within_s))
        except asyncio.CancelledError:
            this = asyncio.current_task()
            if task.cancelled() and not (this is not None and this.cancelling()):  # the sender closes
                return _late(max(0.0, within_s))
            raise
        if isinstance(result, Hindered):
            raise Hindered(result.cause, str(result))
        return result

    def _drop(self, slot: _Slot, token: str) -> bool:
        """The receiver has refused the token: whether another one can be tried."""
        if slot.token != token:
            return True  # another delivery has renewed it, or is about to
        now = self._now()
        if now - slot.forced_at < FORCED_EVERY_S:
            return False
        slot.forced_at = now
        slot.token = None
        return True

    def _started(self, slot: _Slot) -> asyncio.Task[str | HttpFailure | Hindered]:
        if slot.task is None:
            slot.task = asyncio.create_task(self._fetch(slot))
        return slot.task

    async def _fetch(self, slot: _Slot) -> str | HttpFailure | Hindered:
        begun = self._now()
        try:
            outcome = await self._send(_request(slot.grant))
            result = read_answer(outcome)
        except Hindered as error:
            slot.retry_at = self._now() + RETRY_S
            return error
        except (Defect, UnicodeError):
            result = _failure("The request for an access token cannot be written.", HttpTiming())
        finally:
            slot.task = None
        if isinstance(result, HttpFailure):
            slot.failure, slot.retry_at = result, self._now() + RETRY_S
            return result
        slot.token, slot.failure, slot.retry_at = result.text, None, 0.0
        slot.until = begun + result.life_s - min(MARGIN_S, result.life_s * MARGIN_PART)
        slot.renew_at = slot.until - min(RENEW_S, result.life_s * RENEW_PART)
        return result.text


def _request(grant: TokenGrant) -> HttpRequest:
    auth = grant.auth
    fields = {"grant_type": "client_credentials"}
    headers = [
        ("user-agent", _USER_AGENT),
        ("accept", "application/json"),
        ("content-type", "application/x-www-form-urlencoded"),
    ]
    if auth.client_auth == "basic":
        # RFC 6749, section 2.3.1: both are form-encoded before. `%20` for a space is understood by servers, too, that
        # decode them like a path, as Authlib does.
        pair = f"{quote(auth.client_id, safe='')}:{quote(auth.client_secret, safe='')}"
        headers.append(("authorization", f"Basic {base64.b64encode(pair.encode()).decode()}"))
    else:
        fields |= {"client_id": auth.client_id, "client_secret": auth.client_secret}
    fields |= {name: text for name, text in (("scope", auth.scope), ("audience", auth.audience)) if text}
    body = urlencode(fields).encode()
    return HttpRequest(url=auth.token_url, headers=tuple(headers), body=body, timeout_s=TIMEOUT_S)


def read_answer(outcome: HttpOutcome) -> AccessToken | HttpFailure:
    """The token of a token server's answer, or why there is none."""
    if isinstance(outcome, HttpFailure):
        what = outcome.detail.replace("The receiver", "The token server").replace("the receiver", "the token server")
        return _failure(f"No access token could be fetched: {what}", outcome.timing)
    if outcome.status != 200:
        return _failure(f"The token server answered {outcome.status}{_code(outcome.body)}.", outcome.timing)
    if outcome.truncated:
        return _failure("The token server's answer is longer than 64 KiB, or incomplete.", outcome.timing)
    try:
        answer = msgspec.json.decode(outcome.body, type=_Answer)
    except (ValueError, RecursionError):
        return _failure("The token server's answer is no JSON object with an `access_token`.", outcome.timing)
    if answer.token_type.lower() != "bearer":
        return _failure("The token server's answer has a `token_type` that is not Bearer.", outcome.timing)
    if len(answer.access_token) > MAX_TOKEN:
        return _failure(f"The token server's `access_token` has more than {MAX_TOKEN} characters.", outcome.timing)
    if not _VISIBLE.fullmatch(answer.access_token):
        return _failure("The token server's `access_token` is empty, or cannot be sent in a header.", outcome.timing)
    life_s = _life_s(answer.expires_in)
    if life_s is None:
        return _failure("The token server's `expires_in` is not a number of seconds.", outcome.timing)
    return AccessToken(answer.access_token, life_s)


def _life_s(expires_in: float | str | None) -> float | None:
    """Seconds, between 0 and `MAX_LIFE_S`; None: it is no number."""
    if expires_in is None:
        return DEFAULT_LIFE_S
    if isinstance(expires_in, str):  # several servers write it so
        if not _NUMBER.fullmatch(expires_in):
            return None
        expires_in = float(expires_in)
    return min(max(0.0, float(expires_in)), MAX_LIFE_S)


def _code(body: bytes) -> str:
    """The error code of an answer in brackets; empty without one that looks like those of RFC 6749."""
    try:
        code = msgspec.json.decode(body, type=_ErrorAnswer).error
    except (ValueError, RecursionError):
        return ""
    return f" ({code})" if _CODE.fullmatch(code) else ""


def _late(timeout_s: float) -> HttpFailure:
    detail = f"There was no access token for the request within {timeout_s:g} s."
    return _failure(detail, HttpTiming(total_ms=timeout_s * 1000))


def _failure(detail: str, timing: HttpTiming) -> HttpFailure:
    return HttpFailure(kind="token", detail=detail, timing=HttpTiming(total_ms=timing.total_ms))
