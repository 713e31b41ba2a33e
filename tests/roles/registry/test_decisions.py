"""Registry decisions: a command changes exactly what it names, or is refused with a sentence that says why."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core import supersession
from app.core.directory import Directory
from app.core.errors import CommandRefused
from app.core.model.delivery import DeliveryRevision
from app.core.model.endpoint import Endpoint, OpenCircuit, SealedSecret
from app.core.model.tenant import Tenant
from app.core.records import command as command_record
from app.core.records import registry
from app.core.records.command import CommandAction, CreateEndpoint, PutTenant, RemoveEndpoint, UpdateEndpoint
from app.profiles.catalog import PROFILES
from app.roles.registry import decisions as registry_
from app.roles.registry.decisions import RegistryChange

NOW = 1_000
ENDPOINT = Endpoint(
    id="ep_1",
    tenant="acme",
    mode="live",
    url="https://x.example/hook",
    events=("a.*",),
    profile="standard",
    secrets=(SealedSecret(key_id="k", blob="AAAA", created_at_ms=1),),
    created_at_ms=500,
    updated_at_ms=600,
    version=3,
)


def changed(endpoint: Endpoint = ENDPOINT, **fields: Any) -> Endpoint:
    return msgspec.structs.replace(endpoint, **fields)


def directory(*entities: Endpoint | Tenant) -> Directory:
    made = Directory()
    for each in entities:
        kind = "endpoint" if isinstance(each, Endpoint) else "tenant"
        registry.apply(made, f"{kind}/{each.id}", registry.encode(each))
    return made


def decide(action: CommandAction, where: Directory | None = None) -> RegistryChange:
    command = command_record.Command(id="c1", issued_at_ms=1, action=action)
    (change,) = registry_.decide(command, directory(ENDPOINT) if where is None else where, NOW, PROFILES)
    return change


def refused(action: CommandAction, where: Directory | None = None) -> tuple[str, str]:
    with pytest.raises(CommandRefused) as caught:
        decide(action, where)
    return caught.value.code, caught.value.detail


def test_a_created_endpoint_begins_at_version_1_now() -> None:
    expected = changed(version=1, created_at_ms=NOW, updated_at_ms=NOW)
    assert decide(CreateEndpoint(ENDPOINT), directory()) == RegistryChange("endpoint/ep_1", expected, 1)


def test_an_id_is_used_once() -> None:
    assert refused(CreateEndpoint(changed(tenant="other"))) == ("exists", "endpoint ep_1 is there already")


@pytest.mark.parametrize("expected", [None, 3])
def test_an_update_changes_the_named_fields_and_the_version(expected: int | None) -> None:
    changes = {"url": "https://y.example", "events": ["b"], "status": "paused", "schedule": [0, 9], "timeout": 5}
    after = changed(
        url="https://y.example",
        events=("b",),
        status="paused",
        schedule=(0.0, 9.0),
        timeout=5.0,
        version=4,
        epoch=4,
        updated_at_ms=NOW,
    )
    assert decide(UpdateEndpoint("ep_1", changes, expected)) == RegistryChange("endpoint/ep_1", after, 4)


def test_null_takes_an_override_back() -> None:
    where = directory(changed(timeout=5.0, schedule=(0.0,), rate_limit=1.0))
    change = decide(UpdateEndpoint("ep_1", {"timeout": None, "schedule": None, "rate_limit": None}), where)
    assert change.value == changed(version=4, updated_at_ms=NOW)


@pytest.mark.parametrize("expected", [None, 3])
def test_a_removed_endpoint_leaves_a_tombstone(expected: int | None) -> None:
    change = decide(RemoveEndpoint("ep_1", expected))
    assert change == RegistryChange("endpoint/ep_1", None, 0)
    assert registry.encode(change.value) is None


@pytest.mark.parametrize("expected", [0, 2, 4])
def test_a_command_for_another_version_is_a_conflict(expected: int) -> None:
    for action in (UpdateEndpoint("ep_1", {"url": "https://y.example"}, expected), RemoveEndpoint("ep_1", expected)):
        assert refused(action) == ("conflict", f"endpoint ep_1 has version 3, not {expected}")


@pytest.mark.parametrize("action", [UpdateEndpoint("no", {}), RemoveEndpoint("no"), UpdateEndpoint("no", {}, 3)])
def test_what_is_not_there_is_not_found(action: CommandAction) -> None:
    assert refused(action) == ("not_found", "there is no endpoint no")


@pytest.mark.parametrize(
    "field", ["id", "tenant", "mode", "profile", "created_at_ms", "updated_at_ms", "version", "colour"]
)
def test_what_cannot_be_changed_is_named(field: str) -> None:
    same = getattr(ENDPOINT, field, "red")
    assert refused(UpdateEndpoint("ep_1", {field: same, "url": "https://y.example"})) == (
        "invalid",
        f"cannot be changed: {field}",
    )


INVALID: list[tuple[str, Any, str]] = [
    ("url", "", "url: begins with https://"),
    ("url", "ftp://x.example", "url: begins with https://"),
    ("url", "https://" + "x" * 2041, "at most 2048 characters"),
    ("events", [], "events: at least one"),
    ("events", ["a.*.b"], "events: 'a.*.b' is neither"),
    ("events", ["a"] * 501, "events: at most 500"),
    ("description", "x" * 1025, "at most 1024 characters"),
    ("metadata", {str(number): "" for number in range(51)}, "metadata: at most 50"),
    ("headers", {"a b": "x"}, "headers: 'a b' is no header name"),
    ("headers", {"": "x"}, "is no header name"),
    ("headers", {"X": "a\r\nb"}, "no line breaks"),
    ("headers", {"X": "\u00e4"}, "visible ASCII"),
    ("headers", {"X": "x" * 4097}, "headers: the value of X"),
    ("headers", {"Host": "x"}, "headers: Host is set by the service"),
    ("headers", {"Content-Type": "x"}, "is set by the service"),
    ("headers", {"Webhook-Id": "x"}, "is set by the service"),
    ("headers", {"X-Bota-Signature": "x"}, "is set by the service"),
    ("headers", {f"X-{number}": "" for number in range(31)}, "headers: at most 30"),
    ("schedule", [], "schedule: 1 to 100"),
    ("schedule", [1] * 101, "schedule: 1 to 100"),
    ("schedule", [-1], "schedule: each delay"),
    ("schedule", [7 * 86_400 + 1], "schedule: each delay"),
    ("timeout", 0.05, "timeout: 0.1 to 60"),
    ("timeout", 61, "timeout: 0.1 to 60"),
    ("max_in_flight", 0, "max_in_flight: 1 to 1000"),
    ("max_in_flight", 1001, "max_in_flight: 1 to 1000"),
    ("rate_limit", 0, "rate_limit: 0.001 to"),
    ("rate_limit", 100_001, "rate_limit: 0.001 to"),
]
MISTYPED: list[tuple[str, Any]] = [
    ("url", None),
    ("url", 1),
    ("events", "a.*"),
    ("status", "asleep"),
    ("headers", {"X": 1}),
    ("ordering", "lifo"),
    ("timeout", "5"),
    ("max_in_flight", 1.5),
    ("secrets", [{}]),
    ("metadata", []),
]


@pytest.mark.parametrize(("field", "value", "sentence"), INVALID, ids=[row[0] for row in INVALID])
def test_an_invalid_value_is_refused_with_a_sentence(field: str, value: Any, sentence: str) -> None:
    made = msgspec.convert(msgspec.to_builtins(changed(id="ep_2")) | {field: value}, Endpoint)
    for code, detail in (refused(CreateEndpoint(made)), refused(UpdateEndpoint("ep_1", {field: value}))):
        assert code == "invalid"
        assert sentence in detail


@pytest.mark.parametrize(("field", "value"), MISTYPED)
def test_a_value_of_another_type_is_refused_with_its_place(field: str, value: Any) -> None:
    code, detail = refused(UpdateEndpoint("ep_1", {field: value}))
    assert code == "invalid"
    assert f"$.{field}" in detail


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("url", "https://" + "x" * 2040),
        ("events", ["a"] * 500),
        ("description", "x" * 1024),
        ("timeout", 0.1),
        ("timeout", 60),
        ("max_in_flight", 1000),
        ("rate_limit", 0.001),
        ("schedule", [0, 7 * 86_400]),
        ("headers", {"X-Mine": "x" * 4096}),
        ("metadata", {str(number): "" for number in range(50)}),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 20 else "",
)
def test_the_limits_themselves_are_allowed(field: str, value: Any) -> None:
    assert decide(UpdateEndpoint("ep_1", {field: value})).version == 4


@pytest.mark.parametrize(
    ("tenant", "profile", "sentence"),
    [
        ("a/b", "standard", "tenant"),
        ("", "standard", "tenant"),
        ("acme", "standart", "did you mean standard?"),
        ("acme", "zzz", "one of bota, efficlose, recall, standard, voxscriber"),
    ],
)
def test_a_strange_tenant_or_profile_is_refused(tenant: str, profile: str, sentence: str) -> None:
    for action in (
        CreateEndpoint(changed(id="ep_2", tenant=tenant, profile=profile)),
        PutTenant(Tenant(id=tenant, profile=profile)),
    ):
        code, detail = refused(action)
        assert code == "invalid"
        assert sentence in detail


def test_all_problems_are_said_at_once() -> None:
    code, detail = refused(UpdateEndpoint("ep_1", {"url": "", "events": [], "timeout": 99}))
    assert code == "invalid"
    assert [part.partition(":")[0] for part in detail.split("; ")] == ["url", "events", "timeout"]


def test_a_tenant_keeps_its_birthday_and_counts_its_versions() -> None:
    first = decide(PutTenant(Tenant(id="acme", version=99)), directory())
    assert first == RegistryChange("tenant/acme", Tenant(id="acme", created_at_ms=NOW, updated_at_ms=NOW), 1)
    known = Tenant(id="acme", created_at_ms=5, updated_at_ms=6, version=7)
    second = decide(PutTenant(Tenant(id="acme", name="Acme")), directory(known))
    assert second.value == Tenant(id="acme", name="Acme", created_at_ms=5, updated_at_ms=NOW, version=8)
    assert second.version == 8


def test_the_records_of_a_life_rebuild_the_directory() -> None:
    where, steps = Directory(), list[RegistryChange]()
    for action in (
        PutTenant(Tenant(id="acme", name="Acme", notify_emails=("ops@acme.example",))),
        CreateEndpoint(ENDPOINT),
        CreateEndpoint(changed(id="ep_2", events=("*",), secrets=())),
        UpdateEndpoint("ep_1", {"status": "paused"}, 1),
        RemoveEndpoint("ep_2", 1),
    ):
        steps.append(decide(action, where))
        registry.apply(where, steps[-1].key, registry.encode(steps[-1].value))
    assert where.endpoints() == [steps[3].value]
    assert where.tenants == {"acme": steps[0].value}
    registry.apply(where, "tenant/acme", None)
    registry.apply(where, "endpoint/ep_1", None)
    assert (len(where), where.tenants) == (0, {})


@pytest.mark.parametrize(("key", "value"), [("quota/k1", b"{"), ("type/a", None), ("", None), ("endpoints", b"x")])
def test_records_of_a_later_version_are_passed_over(key: str, value: bytes | None) -> None:
    where = directory(ENDPOINT)
    registry.apply(where, key, value)
    assert where.endpoints() == [ENDPOINT]


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"id":"c","issued_at_ms":1,"action":{"type":"x"}}',
        b"\xff",
        b'{"id":"\xff"}',
        b'{"x":' + b"[" * 100_000,
    ],
)
def test_what_is_no_command_is_unreadable(value: bytes | None) -> None:
    with pytest.raises(CommandRefused) as caught:
        registry.read_command(value)
    assert (caught.value.code, bool(caught.value.detail)) == ("unreadable", True)


TEXT = st.text(max_size=10)
VERSIONS = st.none() | st.integers(0, 9)
ACTIONS = st.one_of(
    st.builds(CreateEndpoint, st.builds(changed, description=TEXT, metadata=st.dictionaries(TEXT, TEXT, max_size=3))),
    st.builds(UpdateEndpoint, TEXT, st.dictionaries(TEXT, TEXT | VERSIONS, max_size=4), VERSIONS),
    st.builds(RemoveEndpoint, TEXT, VERSIONS),
    st.builds(PutTenant, st.builds(Tenant, id=TEXT, name=TEXT)),
)


@given(TEXT, st.integers(0, 2**62), ACTIONS)
def test_a_command_survives_its_topic(id_: str, issued_at_ms: int, action: CommandAction) -> None:
    command = command_record.Command(id=id_, issued_at_ms=issued_at_ms, action=action)
    assert registry.read_command(registry.encode(command)) == command


def alive(*steps: CommandAction, endpoint: Endpoint = ENDPOINT) -> Directory:
    """The directory after the endpoint and the steps, each at the next second."""
    where = directory(endpoint)
    for number, step in enumerate(steps, 1):
        command = command_record.Command(id="c", issued_at_ms=1, action=step)
        for change in registry_.decide(command, where, NOW * number, PROFILES):
            registry.apply(where, change.key, registry.encode(change.value))
    return where


PAUSE = command_record.SuspendEndpoint(id="ep_1", status="paused", begin={0: 5, 1: 7}, dead_begin=3)
DISABLE = command_record.SuspendEndpoint(id="ep_1", status="disabled", begin={0: 5, 1: 7}, dead_begin=3)
RESUME = command_record.ReactivateEndpoint(id="ep_1", end={0: 9, 1: 7}, replay_id="rpl_1")


def test_a_pause_and_its_resume_make_a_replay_of_what_was_put_aside() -> None:
    paused = alive(PAUSE)
    assert paused.endpoint("ep_1").status == "paused"  # type: ignore[union-attr]
    assert alive(PAUSE, PAUSE).endpoint("ep_1").version == paused.endpoint("ep_1").version  # type: ignore[union-attr]
    resumed = alive(PAUSE, RESUME)
    assert resumed.endpoint("ep_1").status == "active"  # type: ignore[union-attr]
    replay = resumed.replays["rpl_1"]
    assert (replay.reason, replay.dead_begin, replay.state, replay.version) == ("resume", 3, "pending", 1)
    assert (replay.tenant, replay.mode, replay.endpoint_id) == ("acme", "live", "ep_1")


def test_what_was_missed_while_disabled_is_replayed_only_when_asked_for_and_once() -> None:
    enabled = alive(DISABLE, RESUME)
    assert not enabled.replays
    recover = command_record.RecoverEndpoint("ep_1", "rpl_2")
    recovered = alive(DISABLE, RESUME, recover, recover)
    replay = recovered.replays["rpl_2"]
    assert (replay.reason, replay.begin, replay.end, replay.dead_begin) == ("recover", {0: 5, 1: 7}, {0: 9, 1: 7}, None)
    assert replay.version == 1
    assert "not missed anything" in refused(recover, alive(PAUSE, RESUME))[1]
    assert "enable it first" in refused(recover, alive(DISABLE))[1]


def test_from_pause_to_disabled_nothing_is_kept_any_more() -> None:
    where = alive(PAUSE, DISABLE, RESUME)
    assert not where.replays
    assert [suspension.kind for suspension in where.endpoint("ep_1").suspensions] == ["disabled"]  # type: ignore[union-attr]
    assert "enable it before" in refused(PAUSE, alive(DISABLE))[1]


def test_a_rotation_lets_the_old_secret_sign_along_for_a_while() -> None:
    new = SealedSecret(key_id="k", blob="BBBB", created_at_ms=2)
    rotate = command_record.RotateSecret("ep_1", new, overlap_until_ms=NOW + 500, key="once")
    secrets = alive(rotate).endpoint("ep_1").secrets  # type: ignore[union-attr]
    assert [(each.blob, each.expires_at_ms) for each in secrets] == [("BBBB", None), ("AAAA", NOW + 500)]
    assert alive(rotate, rotate).endpoint("ep_1").secrets == secrets, "the same request again"  # type: ignore[union-attr]
    at_once = msgspec.structs.replace(rotate, overlap_until_ms=NOW, key=None)
    assert [each.blob for each in alive(at_once).endpoint("ep_1").secrets] == ["BBBB"]  # type: ignore[union-attr]
    gone = msgspec.structs.replace(rotate, secret=None, key=None)
    assert alive(gone).endpoint("ep_1").secrets == ()  # type: ignore[union-attr]


def test_a_replay_that_has_ended_stays_as_it_is() -> None:
    advance = command_record.AdvanceReplay("rpl_1", {0: 9}, 12, "running")
    running = alive(PAUSE, RESUME, advance).replays["rpl_1"]
    assert (running.state, running.sent, running.done) == ("running", 12, {0: 9})
    late = alive(PAUSE, RESUME, command_record.CancelReplay("rpl_1"), advance).replays["rpl_1"]
    assert (late.state, late.sent) == ("cancelled", 0)


def test_a_disablement_ends_where_the_log_was_when_everybody_knew() -> None:
    later = command_record.CloseSuspension("ep_1", {0: 12, 1: 6})
    suspension = alive(DISABLE, RESUME, later).endpoint("ep_1").suspensions[-1]  # type: ignore[union-attr]
    assert suspension.end == {0: 12, 1: 7}
    assert alive(PAUSE, RESUME, later).endpoint("ep_1").suspensions[-1].end == {0: 9, 1: 7}  # type: ignore[union-attr]


def test_replays_leave_with_their_endpoint_and_the_oldest_when_there_are_many() -> None:
    assert not alive(PAUSE, RESUME, RemoveEndpoint("ep_1")).replays
    steps: list[CommandAction] = []
    for number in range(25):
        resume = msgspec.structs.replace(RESUME, replay_id=f"rpl_{number:02}")
        steps += [PAUSE, resume, command_record.AdvanceReplay(f"rpl_{number:02}", {}, 0, "done")]
    kept = sorted(alive(*steps).replays)
    assert (len(kept), kept[0], kept[-1]) == (20, "rpl_05", "rpl_24")


@pytest.mark.parametrize("key", ["endpoint/ep_2", "tenant/ep_2", "replay/ep_1", "type/acme/live/ep_1"])
def test_a_state_under_the_key_of_another_is_not_read(key: str) -> None:
    made = directory(ENDPOINT)
    with pytest.raises(ValueError, match=r"."):
        registry.apply(made, key, registry.encode(ENDPOINT))
    assert made.endpoint("ep_1") == ENDPOINT and made.endpoint("ep_2") is None


def test_turns_are_kept_by_delivery_and_old_ones_leave() -> None:
    where = directory()
    where.put_revision(DeliveryRevision(id="dlv_old", number=1))
    changes = registry_.decide(
        command_record.Command(
            id="c",
            issued_at_ms=0,
            action=command_record.SupersedeDeliveries([DeliveryRevision(id="dlv_1", number=5, cancel=True)]),
        ),
        where,
        supersession.KEPT_MS + 2,
        PROFILES,
    )
    for change in changes:
        registry.apply(where, change.key, registry.encode(change.value))
    assert [change.key for change in changes] == ["revision/dlv_1", "revision/dlv_old"]
    assert where.revisions == {"dlv_1": DeliveryRevision(id="dlv_1", number=5, cancel=True)}


# --- health ---------------------------------------------------------------------------------------------------------

MARK = command_record.MarkFailing("ep_1", 1, failing_since_ms=700, disable_at_ms=9_000)


def test_a_mark_shows_and_hides_since_when_an_endpoint_fails() -> None:
    shown = decide(MARK).value
    assert shown == changed(failing_since_ms=700, disable_at_ms=9_000, version=4, updated_at_ms=NOW)
    hidden = decide(command_record.MarkFailing("ep_1", 1), directory(shown)).value
    assert hidden == changed(version=5, updated_at_ms=NOW)


@pytest.mark.parametrize("action", [MARK, msgspec.structs.replace(DISABLE, epoch=1)])
def test_what_health_has_decided_twice_or_for_another_epoch_changes_nothing(action: CommandAction) -> None:
    once = decide(action).value
    assert isinstance(once, Endpoint)
    for where in (directory(once), directory(changed(epoch=2))):
        assert (
            registry_.decide(command_record.Command(id="c", issued_at_ms=1, action=action), where, NOW, PROFILES) == []
        )


def test_an_endpoint_that_is_disabled_keeps_since_when_it_failed_and_an_enabled_one_begins_anew() -> None:
    failing = changed(failing_since_ms=700, disable_at_ms=9_000)
    disabled = decide(msgspec.structs.replace(DISABLE, epoch=1), directory(failing)).value
    assert isinstance(disabled, Endpoint)
    assert (disabled.failing_since_ms, disabled.disable_at_ms, disabled.epoch) == (700, None, 1)
    enabled = decide(RESUME, directory(disabled)).value
    assert isinstance(enabled, Endpoint)
    assert (enabled.status, enabled.failing_since_ms, enabled.epoch) == ("active", None, enabled.version)


def test_a_pause_is_no_cure() -> None:
    failing = changed(failing_since_ms=700, disable_at_ms=9_000)
    paused = decide(PAUSE, directory(failing)).value
    assert isinstance(paused, Endpoint)
    assert (paused.failing_since_ms, paused.disable_at_ms, paused.epoch) == (700, 9_000, 1)


@pytest.mark.parametrize(
    "changes", [{"disable_after_failures": -1}, {"disable_after_days": 366}, {"epoch": 7}, {"failing_since_ms": 1}]
)
def test_a_rule_has_bounds_and_its_state_is_not_to_be_set(changes: dict[str, Any]) -> None:
    code, detail = refused(UpdateEndpoint("ep_1", changes))
    assert code == "invalid" and next(iter(changes)) in detail


def test_an_address_that_unsubscribes_is_taken_off_its_tenant_alone() -> None:
    where = directory(Tenant(id="acme", notify_emails=("Ops@x.example", "b@x.example"), version=2))
    after = decide(command_record.UnsubscribeAddress("acme", "ops@X.example"), where)
    assert after.value == Tenant(id="acme", notify_emails=("b@x.example",), version=3, updated_at_ms=NOW)
    for tenant, address in (("acme", "c@x.example"), ("other", "b@x.example")):
        command = command_record.Command(
            id="c", issued_at_ms=1, action=command_record.UnsubscribeAddress(tenant, address)
        )
        assert registry_.decide(command, where, NOW, PROFILES) == []


@pytest.mark.parametrize(
    "address",
    ["a@b\r\nBcc: c@d", "a b@c", "a@b,c@d", "<a@b>", "@b", "a@", "a", "x" * 300 + "@b.c"],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    code, detail = refused(PutTenant(Tenant(id="acme", notify_emails=("ok@x.example", address))))
    assert code == "invalid" and "is no e-mail address" in detail


def test_a_circuit_is_shown_without_a_new_version_and_ends_with_the_epoch() -> None:
    mark = OpenCircuit(since_ms=700, probe_at_ms=900)
    opened = decide(command_record.MarkCircuit("ep_1", 1, mark))
    assert isinstance(opened.value, Endpoint) and opened.value.circuit == mark
    assert (opened.version, opened.value.version, opened.value.updated_at_ms) == (
        ENDPOINT.version,
        ENDPOINT.version,
        ENDPOINT.updated_at_ms,
    )
    where = directory(opened.value)
    for again in (command_record.MarkCircuit("ep_1", 1, mark), command_record.MarkCircuit("ep_1", 99)):
        command = command_record.Command(id="c", issued_at_ms=1, action=again)
        assert registry_.decide(command, where, 1000, PROFILES) == []
    moved = decide(UpdateEndpoint("ep_1", {"url": "https://elsewhere.example"}), where).value
    assert isinstance(moved, Endpoint) and moved.circuit is None, "another URL is another receiver"
    closed = decide(command_record.MarkCircuit("ep_1", 1), where).value
    assert isinstance(closed, Endpoint) and closed.circuit is None
    with pytest.raises(CommandRefused, match="cannot be changed"):
        decide(UpdateEndpoint("ep_1", {"circuit": None}), where)
