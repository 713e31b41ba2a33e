"""The directory: its index answers what a scan of all endpoints would, for every type and after every change."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.directory import Directory
from app.core.errors import Defect
from app.core.model.endpoint import Endpoint, EndpointStatus, OpenCircuit
from app.core.model.event import Mode
from app.core.model.event_types import MAX_TYPE_LENGTH, includes, is_event_type, is_pattern, prefixes
from app.core.model.tenant import Tenant
from app.profiles.catalog import PROFILES


def endpoint(
    id_: str,
    *events: str,
    tenant: str = "acme",
    mode: Mode = "live",
    profile: str = "standard",
    status: EndpointStatus = "active",
) -> Endpoint:
    return Endpoint(
        id=id_, tenant=tenant, mode=mode, url="https://x.example", events=events, profile=profile, status=status
    )


def directory(*endpoints: Endpoint) -> Directory:
    made = Directory(opt_in=lambda profile: PROFILES[profile].opt_in)
    for each in endpoints:
        made.put_endpoint(each)
    return made


def found(where: Directory, event_type: str, tenant: str = "acme", mode: str = "live") -> list[str]:
    return [each.id for each in where.match(tenant, mode, event_type)]


@pytest.mark.parametrize(
    ("pattern", "event_type", "included"),
    [
        ("*", "a", True),
        ("a.b", "a.b", True),
        ("a.b", "a.b.c", False),
        ("a.*", "a.b", True),
        ("a.*", "a.b.c", True),
        ("a.*", "a", False),
        ("a.*", "ab.c", False),
        ("a.b.*", "a.bc.d", False),
        ("A.b", "a.b", False),
    ],
)
def test_the_patterns_that_match_a_type(pattern: str, event_type: str, included: bool) -> None:
    assert includes(pattern, event_type) is included


@pytest.mark.parametrize(
    ("text", "event_type", "pattern"),
    [
        ("a.b-c_D9", True, True),
        ("a.*", False, True),
        ("*", False, True),
        ("", False, False),
        (".a", False, False),
        ("a.", False, False),
        ("a..b", False, False),
        ("a*", False, False),
        ("*.a", False, False),
        ("a.*.b", False, False),
        ("a\n", False, False),
        ("\u00e4", False, False),
        ("a" * MAX_TYPE_LENGTH, True, True),
        ("a" * (MAX_TYPE_LENGTH + 1), False, False),
    ],
)
def test_valid_types_and_patterns(text: str, event_type: bool, pattern: bool) -> None:
    assert (is_event_type(text), is_pattern(text)) == (event_type, pattern)


def test_the_prefixes_of_a_type_from_the_longest() -> None:
    assert prefixes("a.b.c") == ["a.b.*", "a.*"]
    assert prefixes("a") == []


@pytest.mark.parametrize(
    ("events", "receives"),
    [
        (("*",), False),
        (("device.*",), True),
        (("device.connected",), True),
        (("device.lost",), False),
        (("*", "device.*"), True),
    ],
)
def test_device_events_of_bota_need_an_explicit_pattern(events: tuple[str, ...], receives: bool) -> None:
    where = directory(endpoint("b", *events, profile="bota"), endpoint("s", "*"))
    assert found(where, "device.connected") == (["b", "s"] if receives else ["s"])
    assert ("b" in found(where, "recording.ready")) is ("*" in events)


def test_several_patterns_of_one_endpoint_match_once() -> None:
    assert found(directory(endpoint("e", "*", "a.*", "a.b", "a.b")), "a.b") == ["e"]


def test_the_status_plays_no_role_and_is_counted() -> None:
    where = directory(endpoint("a", "*"), endpoint("p", "*", status="paused"), endpoint("d", "*", status="disabled"))
    assert found(where, "x") == ["a", "d", "p"]
    assert where.census() == {"active": 1, "paused": 1, "disabled": 1}
    where.put_endpoint(endpoint("a", "*", status="disabled"))
    where.remove_endpoint("p")
    assert where.census() == {"active": 0, "paused": 0, "disabled": 2}


def test_the_next_lookup_sees_every_change() -> None:
    where = directory(endpoint("a", "x.*"))
    assert (found(where, "x.y"), found(where, "z"), found(where, "x.y", "other")) == (["a"], [], [])
    where.put_endpoint(endpoint("b", "*"))
    assert (found(where, "x.y"), found(where, "z")) == (["a", "b"], ["b"])
    where.put_endpoint(endpoint("a", "z"))
    assert (found(where, "x.y"), found(where, "z")) == (["b"], ["a", "b"])
    where.put_endpoint(endpoint("b", "*", tenant="other"))
    assert (found(where, "z"), found(where, "z", "other")) == (["a"], ["b"])
    where.put_endpoint(endpoint("b", "*", tenant="other", mode="test"))
    assert (found(where, "z", "other"), found(where, "z", "other", "test")) == ([], ["b"])
    where.remove_endpoint("a")
    where.remove_endpoint("never there")
    assert (found(where, "z"), len(where), where.endpoint("a")) == ([], 1, None)


def test_endpoints_are_listed_by_tenant_and_mode_in_order() -> None:
    where = directory(endpoint("c", "*"), endpoint("a", "*", mode="test"), endpoint("b", "*", tenant="other"))
    assert [each.id for each in where.endpoints()] == ["a", "b", "c"]
    assert [each.id for each in where.endpoints("acme")] == ["a", "c"]
    assert [each.id for each in where.endpoints("acme", "test")] == ["a"]


def test_tenants_are_replaced_and_removed() -> None:
    where = directory()
    where.put_tenant(Tenant(id="acme"))
    where.put_tenant(Tenant(id="acme", name="Acme"))
    assert where.tenants["acme"].name == "Acme"
    where.remove_tenant("acme")
    where.remove_tenant("acme")
    assert where.tenants == {}


SEGMENT = st.sampled_from(["a", "b", "device"])
TYPES = st.lists(SEGMENT, min_size=1, max_size=3).map(".".join)
PATTERNS = st.just("*") | TYPES | TYPES.map("{}.*".format)
TENANTS, MODES = st.sampled_from(["t1", "t2"]), st.sampled_from(["live", "test"])
ENDPOINTS = st.builds(
    endpoint,
    st.sampled_from("123456"),
    tenant=TENANTS,
    mode=MODES,
    profile=st.sampled_from(["standard", "bota"]),
).flatmap(lambda made: st.lists(PATTERNS, min_size=1, max_size=3).map(lambda events: (made, tuple(events))))


@given(st.lists(ENDPOINTS | st.sampled_from("123456") | st.tuples(TENANTS, MODES, TYPES), max_size=25))
def test_the_index_finds_what_a_scan_finds(steps: list[Any]) -> None:
    """Puts, removals and lookups in any order."""
    where, plain = directory(), dict[str, Endpoint]()
    for step in steps:
        match step:
            case (Endpoint() as made, events):
                put = endpoint(made.id, *events, tenant=made.tenant, mode=made.mode, profile=made.profile)
                where.put_endpoint(put)
                plain[put.id] = put
            case (tenant, mode, event_type):
                assert list(where.match(tenant, mode, event_type)) == _scan(plain, tenant, mode, event_type)
            case str():
                where.remove_endpoint(step)
                plain.pop(step, None)
    assert where.endpoints() == sorted(plain.values(), key=lambda each: each.id)


def _scan(plain: dict[str, Endpoint], tenant: str, mode: str, event_type: str) -> list[Endpoint]:
    """The rule in the words of the documents, without the code under test."""

    def asks_for(each: Endpoint, pattern: str) -> bool:
        named = event_type == pattern or (pattern.endswith(".*") and event_type.startswith(pattern.removesuffix("*")))
        hidden = each.profile == "bota" and event_type.startswith("device.") and not pattern.startswith("device.")
        return (named or pattern == "*") and not hidden

    return sorted(
        (
            each
            for each in plain.values()
            if (each.tenant, each.mode) == (tenant, mode) and any(asks_for(each, pattern) for pattern in each.events)
        ),
        key=lambda each: each.id,
    )


@pytest.mark.parametrize("number", [10, 2500])
@pytest.mark.parametrize("limit", [1, 7, 1000])
def test_pages_together_have_all_matches(number: int, limit: int) -> None:
    subscriptions = (("*",), ("a.*", "a.b"), ("a.b",), ("c",), ("*", "a.*"))
    where = directory(*(endpoint(f"ep_{each * 7919 % number:05d}", *subscriptions[each % 5]) for each in range(number)))
    for each in range(0, number, 3):
        where.remove_endpoint(f"ep_{each:05d}")
    for each in range(0, number, 6):
        where.put_endpoint(endpoint(f"ep_{each:05d}", "a.b", profile="bota"))
    for event_type in ("a.b", "c", "device.online"):
        seen: list[str] = []
        after: str | None = ""
        while after is not None:
            page, after = where.page("acme", "live", event_type, after, limit)
            assert len(page) <= limit
            seen += [each.id for each in page]
        assert seen == found(where, event_type) == found(where, event_type)
        wanted = [f"ep_{each:05d}" for each in range(number)]
        assert [each for each in wanted if where.subscribes(each, "acme", "live", event_type)] == seen
    assert where.page("acme", "test", "a.b", "", 5) == ((), None)


def test_failing_endpoints_are_those_that_are_marked_now() -> None:
    where = directory(endpoint("a"), endpoint("b"), endpoint("c"))
    circuit = OpenCircuit(since_ms=1, probe_at_ms=2)
    where.put_endpoint(msgspec.structs.replace(endpoint("a"), failing_since_ms=1))
    where.put_endpoint(msgspec.structs.replace(endpoint("b", status="disabled"), circuit=circuit))
    assert sorted(each.id for each in where.failing()) == ["a", "b"]
    where.put_endpoint(endpoint("a"))
    where.remove_endpoint("b")
    assert where.failing() == []


def test_a_copy_holds_the_same_entities_and_changes_alone() -> None:
    first = directory(endpoint("a", "*"), endpoint("b", "x.*", tenant="other"))
    first.put_tenant(Tenant(id="acme"))
    copy = Directory(matches=False)
    for _ in copy.copied(first):
        assert len(copy) <= len(first)
    assert copy.endpoints() == first.endpoints()
    assert copy.endpoint("a") is first.endpoint("a")
    assert (copy.tenants, copy.census(), copy.holdings("acme")) == (
        first.tenants,
        first.census(),
        first.holdings("acme"),
    )
    copy.remove_endpoint("a")
    copy.put_endpoint(endpoint("c", "*"))
    assert [each.id for each in first.endpoints()] == ["a", "b"]
    assert found(first, "x.y") == ["a"]


def test_a_directory_without_an_index_by_pattern_answers_no_question_about_types() -> None:
    where = Directory(matches=False)
    where.put_endpoint(endpoint("a", "*"))
    for ask in (lambda: where.match("acme", "live", "x.y"), lambda: where.page("acme", "live", "x.y", "", 10)):
        with pytest.raises(Defect):
            ask()


def test_an_endpoint_is_found_by_its_id_and_by_its_uid_in_its_tenant_and_mode_only() -> None:
    mine = msgspec.structs.replace(endpoint("ep_1"), uid="shop")
    where = directory(mine, msgspec.structs.replace(endpoint("ep_2", mode="test"), uid="shop"), endpoint("odd"))
    assert where.endpoint_named("acme", "live", "ep_1") is where.endpoint_named("acme", "live", "shop") is not None
    assert where.endpoint_named("acme", "test", "shop") is where.endpoint("ep_2")
    for tenant, mode, name in (("acme", "test", "ep_1"), ("other", "live", "shop"), ("acme", "live", "none")):
        assert where.endpoint_named(tenant, mode, name) is None
    assert where.endpoint_named("acme", "live", "odd") is not None


def test_a_uid_follows_its_endpoint_whatever_the_order_of_compacted_records() -> None:
    first, second = (msgspec.structs.replace(endpoint(id_), uid="shop") for id_ in ("ep_1", "ep_2"))
    where = directory(first, second)  # the record in which ep_1 gave its uid up is gone, or follows
    where.put_endpoint(endpoint("ep_1"))
    assert where.endpoint_named("acme", "live", "shop") is where.endpoint("ep_2")
    where.put_endpoint(msgspec.structs.replace(second, uid="store"))
    assert where.endpoint_named("acme", "live", "shop") is None
    assert where.endpoint_named("acme", "live", "store") is where.endpoint("ep_2")
    where.remove_endpoint("ep_2")
    assert where.endpoint_named("acme", "live", "store") is None
