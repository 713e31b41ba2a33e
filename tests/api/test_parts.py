"""The API's small parts: limits, the memory of idempotency keys, pages, problems, access."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from app.api.contract.fields import FieldError
from app.api.contract.webhooks import WebhookIn
from app.api.pagination import page
from app.api.problems import ApiError, invalid, refused, unfit
from app.api.request import ApiRequest, Caller
from app.api.server import server
from app.api.server.authentication import Authenticator
from app.api.server.idempotency import IdempotencyCache
from app.api.server.rate_limits import CallLimits, RateLimiter
from app.api.server.routes import ROUTES
from app.api.turnstile import Turnstile
from app.core.errors import CommandRefused
from app.core.model.tenant import ApiKey
from tests.fakes.clock import settle
from tests.fakes.feed import MemoryFeed
from tests.patience import PATIENCE_S


def call(**query: str) -> ApiRequest:
    return ApiRequest(caller=Caller("k"), path={}, query=query, headers={})


def test_a_burst_of_one_second_is_allowed_and_then_the_rate() -> None:
    limiter = RateLimiter(10)
    allowed = [limiter.take("a", 100.0)[0] for _ in range(15)]
    assert allowed == [True] * 10 + [False] * 5
    assert limiter.take("b", 100.0)[0], "another caller is not touched"
    later = [limiter.take("a", 100.0 + step / 10)[0] for step in range(1, 21)]
    assert sum(later) == 20
    _, headers = limiter.take("c", 100.0)
    assert headers == {"RateLimit-Policy": '"default";q=10;w=1', "RateLimit": '"default";r=9;t=1'}
    refusal = [limiter.take("c", 100.0) for _ in range(20)][-1]
    assert not refusal[0] and int(refusal[1]["Retry-After"]) >= 1


def test_a_repeated_key_gets_the_stored_response_and_refuses_another_request() -> None:
    memory = IdempotencyCache()
    first, mine = memory.begin("caller", "key", "print", 0)
    assert mine
    assert memory.begin("caller", "key", "print", 1) == (first, False) and not first.ended.is_set()
    memory.keep("caller", "key", first, (201, {}, b"x"))
    again, mine = memory.begin("caller", "key", "print", 2)
    assert (again.answer, again.ended.is_set(), mine) == ((201, {}, b"x"), True, False)
    with pytest.raises(ApiError) as other:
        memory.begin("caller", "key", "other", 3)
    assert other.value.status == 422
    assert memory.begin("somebody", "key", "other", 3)[1]
    late, mine = memory.begin("caller", "key", "other", 25 * 3_600_000)
    assert mine, "a day is over"
    memory.forget("caller", "key", first)
    assert not memory.begin("caller", "key", "other", 25 * 3_600_000)[1], "an earlier request forgets itself alone"
    memory.forget("caller", "key", late)
    assert late.ended.is_set() and late.answer is None
    assert memory.begin("caller", "key", "print", 4)[1]


@given(st.lists(st.text(min_size=1, max_size=8), unique=True, max_size=60), st.integers(1, 7))
def test_pages_give_every_entry_once_in_order(names: list[str], limit: int) -> None:
    entries, seen, cursor = sorted(names), [], None
    for _ in range(len(entries) + 2):
        query = {"limit": str(limit)} | ({"cursor": cursor} if cursor else {})
        found = page(call(**query), entries, lambda each: each, lambda each: each)
        seen += found.data
        cursor = found.next_cursor
        if cursor is None:
            break
    assert seen == entries


@pytest.mark.parametrize("query", [{"limit": "0"}, {"limit": "101"}, {"limit": "x"}, {"limit": "²"}, {"cursor": "ä"}])
def test_a_bad_query_is_refused(query: dict[str, str]) -> None:
    with pytest.raises(ApiError) as caught:
        page(call(**query), ["a"], lambda each: each, lambda each: each)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"url": 1}, "/url"),
        ({"url": "https://x", "events": "*", "headers": {"a": 1}}, "/headers/..."),
        ({"url": "https://x", "events": "*", "schedule": [0, "x"]}, "/schedule/1"),
        ({"url": "https://x"}, ""),
        ({"url": "https://x", "events": "*", "colour": 1}, ""),
    ],
)
def test_the_error_of_a_malformed_body_has_a_pointer(body: Any, pointer: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.json.decode(msgspec.json.encode(body), type=WebhookIn)
    (error,) = unfit(caught.value).errors
    assert error.pointer == pointer


def test_refusals_of_the_registry_have_their_status() -> None:
    codes = ("not_found", "conflict", "exists", "invalid")
    statuses = {code: refused(CommandRefused(code, "x")).status for code in codes}
    assert statuses == {"not_found": 404, "conflict": 412, "exists": 409, "invalid": 422}
    several = refused(CommandRefused("invalid", "timeout: 0.1 to 60 seconds; headers: at most 30"))
    assert [each.pointer for each in several.errors] == ["/timeout", "/headers"]


def test_the_detail_of_a_problem_names_each_field_once() -> None:
    sentences = [("/profile", "is unknown"), ("/secret", "secret: is empty"), ("/a/0", "at least 1"), ("", "not so")]
    problem = invalid(*(FieldError(detail=detail, pointer=pointer) for pointer, detail in sentences))
    assert problem.detail == "profile: is unknown; secret: is empty; a.0: at least 1; not so"


def test_only_the_operator_and_keys_are_authenticated() -> None:
    feed = MemoryFeed()
    feed.directory.put_key(
        ApiKey(
            id="k1",
            tenant="acme",
            mode="test",
            digest=sha256(b"sk_test_1").hexdigest(),
            last4="st_1",
            scopes=("read",),
            expires_at_ms=1000,
        )
    )
    gate = Authenticator(feed, "operator's own")
    assert gate.caller("Bearer operator's own", 0).operator
    caller = gate.caller("bearer sk_test_1", 999)
    assert (caller.tenant, caller.mode) == ("acme", "test")
    for text in (None, "", "Bearer", "Bearer ", "Basic sk_test_1", "Bearer sk_test_2", "Bearer \udcff"):
        with pytest.raises(ApiError) as caught:
            gate.caller(text, 0)
        assert caught.value.status == 401
    with pytest.raises(ApiError):
        gate.caller("Bearer sk_test_1", 1000)
    gate.demand("read", caller)
    for access, who in (("write", caller), ("operator", caller), ("read", gate.caller("Bearer operator's own", 0))):
        with pytest.raises(ApiError) as caught:
            gate.demand(access, who)  # type: ignore[arg-type]
        assert caught.value.status == 403


def test_the_operator_acts_for_a_named_tenant_and_a_key_only_for_its_own() -> None:
    gate = Authenticator(MemoryFeed(), "operator's own")
    operator, acme = gate.caller("Bearer operator's own", 0), Caller("k1", "acme", "test", ("read",))
    assert gate.acting(operator, {}) is operator and gate.acting(acme, {}) is acme
    found = gate.acting(operator, {"Hookstream-Tenant": "acme", "Hookstream-Mode": "test"})
    assert (found.tenant, found.mode, found.operator) == ("acme", "test", False)
    gate.demand("write", found)
    assert gate.acting(operator, {"Hookstream-Tenant": "acme"}).mode == "live"
    assert found.id != gate.acting(operator, {"Hookstream-Tenant": "acme"}).id, "their Idempotency-Keys are apart"
    assert gate.acting(acme, {"Hookstream-Tenant": "acme", "Hookstream-Mode": "test"}) is acme
    for who, headers, status in (
        (acme, {"Hookstream-Tenant": "other"}, 403),
        (acme, {"Hookstream-Mode": "live"}, 403),
        (operator, {"Hookstream-Mode": "live"}, 400),
        (operator, {"Hookstream-Tenant": "a/b"}, 400),
        (operator, {"Hookstream-Tenant": ""}, 400),
        (operator, {"Hookstream-Tenant": "a", "Hookstream-Mode": "x"}, 400),
    ):
        with pytest.raises(ApiError) as caught:
            gate.acting(who, headers)
        assert caught.value.status == status, headers


def test_the_memory_of_answers_is_bounded_in_bytes_and_in_requests() -> None:
    memory = IdempotencyCache()
    for number in range(80):
        memory.keep("c", f"k{number}", memory.begin("c", f"k{number}", "p", 0)[0], (200, {}, b"x" * 1024 * 1024))
    assert not memory.begin("c", "k79", "p", 0)[1]
    assert memory.begin("c", "k0", "p", 0)[1]
    crowded, _ = memory.begin("c", "crowded", "p", 0)
    for number in range(10_000):
        memory.begin("c", f"n{number}", "p", 0)
    memory.keep("c", "crowded", crowded, (200, {}, b"x" * 100 * 1024 * 1024))
    assert not memory.begin("c", "n9999", "p", 0)[1], "an answer that is not kept does not crowd out others"


def test_one_tenant_does_not_make_the_memory_forget_another_s_keys() -> None:
    memory = IdempotencyCache()
    first, _ = memory.begin("k1", "mine", "p", 0, "small")
    memory.keep("k1", "mine", first, (200, {}, b"x" * 1024))
    for number in range(20_000):
        memory.begin("k2", f"n{number}", "p", 0, "large")
    assert not memory.begin("k1", "mine", "p", 0, "small")[1]
    for number in range(200):
        stored, _ = memory.begin("k3", f"n{number}", "p", 0, "heavy")
        memory.keep("k3", f"n{number}", stored, (200, {}, b"x" * 1024 * 1024))
    assert not memory.begin("k1", "mine", "p", 0, "small")[1]
    assert memory.begin("k2", "n0", "p", 0, "large")[1] and memory.begin("k3", "n0", "p", 0, "heavy")[1]


async def test_tenants_take_turns_and_none_has_two() -> None:
    turnstile, order, go = Turnstile("search", at_once=1, wait_s=PATIENCE_S), list[str](), asyncio.Event()

    async def search(tenant: str) -> None:
        async with turnstile.turn(tenant):
            order.append(tenant)
            await go.wait()

    greedy = [asyncio.create_task(search("greedy")) for _ in range(3)]
    others = [asyncio.create_task(search(name)) for name in ("a", "b", "c")]
    await settle()
    refused = [each.exception() for each in greedy[1:]]
    assert all(isinstance(each, ApiError) and each.status == 429 for each in refused)
    others[1].cancel()
    go.set()
    await asyncio.gather(greedy[0], others[0], others[2])
    assert order == ["greedy", "a", "c"]
    await search("b")
    late = Turnstile("search", at_once=1, wait_s=0.01, line=1)
    async with late.turn("a"):
        waiting = asyncio.create_task(late.turn("b").__aenter__())
        await settle()
        for tenant in ("c", "b"):
            with pytest.raises(ApiError) as busy:
                async with late.turn(tenant):
                    pass
            assert busy.value.status == (503 if tenant == "c" else 429)
        with pytest.raises(ApiError) as timed_out:
            await waiting
        assert timed_out.value.status == 503
    async with late.turn("b"):
        pass


def test_links_and_sessions_use_up_the_allowance_of_their_key_and_keys_that_of_their_tenant() -> None:
    limits = CallLimits(10, 15)
    links = [Caller(f"portal/{each}", "acme", answers_for="k1") for each in range(50)]
    assert sum(limits.take(each, 100.0)[0] for each in links) == 10
    assert not limits.take(Caller("k1", "acme"), 100.0)[0]
    assert sum(limits.take(Caller("k2", "acme"), 100.0)[0] for _ in range(10)) == 5, "the tenant's is used up"
    assert limits.take(Caller("k3", "other"), 100.0)[0]
    for number in range(30_000):
        limits.take_stranger(f"10.{number >> 8 & 255}.{number & 255}.{number >> 16}", 100.0)
    assert not limits.take(Caller("k1", "acme"), 100.0)[0], "strangers make nobody be forgotten"
    for _ in range(10):
        limits.charge(Caller("k4", "third"), 8 * 1024 * 1024, 100.0)
    refused, headers = limits.take(Caller("k4", "third"), 100.0)
    assert not refused and headers["Retry-After"] == "2", "80 MiB at 32 MiB per second"
    assert limits.take(Caller("k5", "third"), 100.5)[0] and limits.take(Caller("k4", "third"), 102.0)[0]


@pytest.mark.parametrize("query", ["state=dead&state=cancelled", "state=dead&state=dead"])
def test_a_repeated_parameter_is_refused(query: str) -> None:
    route = next(each for each in ROUTES if each.name == "deliveries.list")
    with pytest.raises(ApiError, match="state: give it once"):
        server._query(route, make_mocked_request("GET", f"/v1/deliveries?{query}"))
