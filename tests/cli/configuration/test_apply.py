"""`apply` and `export` against a served API: plans, idempotence, secrets, deletions, failures."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path
from typing import Any

import pytest

from app.core.model.endpoint import Endpoint
from tests.cli.configuration.runs import Commands
from tests.dashboard.stage import KEYS, Stage

ACME = KEYS["acme", "live"]
SECRET = "whsec_" + "c2VjcmV0" * 4
WHOLE = """
event_types:
  - {name: order.shipped, description: Left, mode: warn, schema: {type: object}}
tenants:
  - id: acme
    name: Acme
    notify_emails: [ops@acme.example]
    live:
      event_types: [{name: a.b}]
      endpoints:
        - uid: billing
          url: https://acme.example/billing
          events: [invoice.*, order.shipped]
          headers: {X-Team: a, Authorization: env:BILLING_TOKEN}
          secret: file:billing.secret
          rate_limit: 5
        - {uid: crm, url: https://acme.example/crm, events: "*", active: false}
  - id: fresh
    test:
      endpoints: [{uid: x, url: https://x.example, events: ['*'], metadata: {a: b}, schedule: [0, 1]}]
"""


@pytest.fixture
def whole(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("BILLING_TOKEN", "Bearer very-secret")
    commands.write("billing.secret", SECRET + "\n")
    return WHOLE


def named(stage: Stage, uid: str, tenant: str = "acme", mode: str = "live") -> Endpoint:
    endpoint = stage.feed.directory.endpoint_named(tenant, mode, uid)
    assert endpoint is not None
    return endpoint


async def test_a_dry_run_shows_the_plan_and_changes_nothing(stage: Stage, commands: Commands, whole: str) -> None:
    done = await commands.apply(whole, "--dry-run")
    assert done.code == 2
    for line in (
        "~ tenant acme",
        "    name:  → Acme",
        "+ tenant fresh",
        "+ event type order.shipped",
        "+ event type acme/live a.b",
        "+ endpoint acme/live billing",
        "    headers.Authorization: env:BILLING_TOKEN",
        "    secret: file:billing.secret",
        "+ endpoint fresh/test x",
        "6 to create, 1 to change, 0 to delete; 0 unchanged.",
    ):
        assert line in done.out.splitlines()
    assert "very-secret" not in done.out + done.err and SECRET not in done.out + done.err
    assert not stage.actors


async def test_a_second_apply_changes_nothing(stage: Stage, commands: Commands, whole: str) -> None:
    done = await commands.apply(whole)
    assert (done.code, done.out.splitlines()[-1]) == (0, "7 changes made.")
    billing, crm, x = named(stage, "billing"), named(stage, "crm"), named(stage, "x", "fresh", "test")
    assert stage.ring.open(billing.secrets[0], billing.secret_owner) == SECRET
    sealed = billing.sealed_headers["Authorization"]
    assert stage.ring.open(sealed, billing.secret_owner) == "Bearer very-secret"
    assert (crm.status, x.schedule, x.metadata, x.status) == ("disabled", (0, 1), {"a": "b"}, "active")
    assert stage.feed.directory.tenants["acme"].name == "Acme"
    for words in ([], ["--dry-run"], ["--prune"]):
        again = await commands.apply(whole, *words)
        assert (again.code, again.out) == (0, "Nothing to change: 6 entries as described.\n")
    assert named(stage, "billing") is billing


async def test_each_field_of_a_change_is_shown_and_made(stage: Stage, commands: Commands, whole: str) -> None:
    await commands.apply(whole)
    changed = whole.replace("rate_limit: 5", "timeout: 7").replace("X-Team: a", "X-Team: b").replace("Left", "Gone")
    done = await commands.apply(changed, "--dry-run")
    assert done.code == 2
    assert done.out == (
        "~ event type order.shipped\n    description: Left → Gone\n~ endpoint acme/live billing\n"
        "    headers.X-Team: a → b\n    timeout: 20 → 7\n    rate_limit: 5 → (none)\n"
        "0 to create, 2 to change, 0 to delete; 4 unchanged.\n"
    )
    assert (await commands.apply(changed)).code == 0
    billing = named(stage, "billing")
    assert (billing.timeout, billing.rate_limit, billing.headers["X-Team"]) == (7, None, "b")
    assert stage.ring.open(billing.sealed_headers["Authorization"], billing.secret_owner) == "Bearer very-secret"
    assert (await commands.apply(changed)).out.startswith("Nothing to change")


async def test_secrets_are_written_again_only_on_request(
    stage: Stage, commands: Commands, whole: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await commands.apply(whole)
    before = named(stage, "billing")
    monkeypatch.setenv("BILLING_TOKEN", "Bearer other")
    assert (await commands.apply(whole)).out.startswith("Nothing")
    done = await commands.apply(whole, "--renew-secrets")
    assert "secret: ******** → file:billing.secret" in done.out and "other" not in done.out
    after = named(stage, "billing")
    assert stage.ring.open(after.sealed_headers["Authorization"], after.secret_owner) == "Bearer other"
    assert len(after.secrets) == len(before.secrets) + 1


async def test_a_signing_key_is_set_once(stage: Stage, commands: Commands) -> None:
    commands.write("a.key", "whsk_" + base64.b64encode(bytes(range(64))).decode())
    text = "endpoints: [{uid: a, url: 'https://a.example', events: '*'%s}]"
    await commands.apply(text % "", key=ACME)
    signed = text % ", signature_scheme: v1a, signing_key: file:a.key"
    plan = await commands.apply(signed, "--dry-run", key=ACME)
    assert "    signing_key: (none) → file:a.key" in plan.out.splitlines()
    failed = await commands.apply(signed, key=ACME)
    assert failed.code in (0, 3) and "whsk_" not in failed.out + failed.err
    plain = await commands.apply(text % ", signing_key: whsk_x", key=ACME)
    assert plain.code == 2 and "signing_key: is a secret: write env:NAME" in plain.err


async def test_an_unset_secret_fails_its_endpoint_alone(stage: Stage, commands: Commands, whole: str) -> None:
    done = await commands.apply(whole.replace("env:BILLING_TOKEN", "env:NOT_SET"), "-o", "json")
    assert done.code == 3
    states = {each["name"]: each for each in done.json()["changes"]}
    assert (
        states["billing"]["state"] == "failed" and "NOT_SET: the environment has no such" in states["billing"]["reason"]
    )
    assert {each["state"] for name, each in states.items() if name != "billing"} == {"done"}
    assert "6 of 7 changes were made, 1 failed, 0 were not tried." in done.err
    again = await commands.apply(whole)
    assert again.out.splitlines()[-1] == "1 change made."


async def test_refusals_are_listed_and_the_rest_is_applied(stage: Stage, commands: Commands) -> None:
    bad = "endpoints:\n- {uid: a, url: https://a.example, events: '*', signature: nope}\n"
    bad += "- {uid: b, url: https://b.example, events: '*'}"
    done = await commands.apply(bad, key=ACME)
    assert done.code == 3
    assert "failed: endpoint a (" in done.err and "hookstream.yaml:2)" in done.err
    assert named(stage, "b").url == "https://b.example"


async def test_pruning_deletes_only_endpoints_with_a_uid_of_the_described_modes(
    stage: Stage, commands: Commands
) -> None:
    stage.endpoint(id_="ep_1", uid="old")
    stage.endpoint(id_="ep_2")
    stage.endpoint(mode="test", id_="ep_3", uid="old")
    stage.endpoint("other", id_="ep_4", uid="old")
    text = "tenants: [{id: acme, live: {endpoints: []}}]"
    refused = await commands.apply(text, "--prune")
    assert refused.code == 2 and "1 endpoint to delete, and standard input is no terminal" in refused.err
    assert (await commands.apply(text)).out.startswith("Nothing")
    done = await commands.apply(text, "--prune", "--yes")
    assert (done.code, done.out.splitlines()[0]) == (0, "- endpoint acme/live old")
    assert stage.feed.directory.endpoint("ep_1") is None
    assert all(stage.feed.directory.endpoint(id_) for id_ in ("ep_2", "ep_3", "ep_4"))


async def test_a_tenants_key_applies_its_own_endpoints(stage: Stage, commands: Commands) -> None:
    stage.endpoint("other", id_="ep_4", uid="a")
    text = "event_types: [{name: a.b}]\nendpoints: [{uid: a, url: 'https://a.example', events: [a.b]}]"
    assert (await commands.apply(text, key=ACME)).code == 0
    assert named(stage, "a").url == "https://a.example"
    assert ("acme", "live", "a.b") in stage.feed.directory.event_types
    assert (await commands.apply(text, key=ACME)).out == "Nothing to change: 2 entries as described.\n"
    acting = await commands.apply(text, "--tenant", "acme", "--mode", "test")
    assert acting.code == 0 and named(stage, "a", mode="test").url == "https://a.example"
    both = await commands.apply(text + "\ntenants: [{id: acme}]")
    assert both.code == 2 and "exclude each other" in both.err


async def test_a_state_that_a_file_leaves_out_stays(stage: Stage, commands: Commands) -> None:
    stage.endpoint(id_="ep_1", uid="a", url="https://a.example", status="disabled")
    text = "endpoints: [{uid: a, url: 'https://a.example', events: '*'%s}]"
    assert (await commands.apply(text % "", key=ACME)).out.startswith("Nothing")
    assert "active: false → true" in (await commands.apply(text % ", active: true", key=ACME)).out
    assert named(stage, "a").status == "active"
    assert "unsigned: false → true" in (await commands.apply(text % ", unsigned: true", "--dry-run", key=ACME)).out


async def test_what_no_change_can_reach_stops_everything(stage: Stage, commands: Commands) -> None:
    stage.endpoint(id_="ep_1", uid="a", url="https://a.example")
    text = (
        "endpoints:\n- {uid: a, url: 'https://b.example', events: '*', profile: bota}\n"
        "- {uid: b, url: 'https://b.example', events: '*', headers: {Cookie: '********'}}\n"
        "- {uid: c, url: 'https://c.example', events: '*'}\n"
    )
    done = await commands.apply(text, key=ACME)
    assert done.code == 3
    assert "hookstream.yaml:2: endpoint a: profile: standard cannot be changed to bota" in done.err
    assert "hookstream.yaml:3: endpoint b: headers: ******** stands for a present value" in done.err
    assert stage.feed.directory.endpoint_named("acme", "live", "c") is None


async def test_generated_secrets_go_to_a_file_of_the_owner(stage: Stage, commands: Commands) -> None:
    text = "endpoints: [{uid: a, url: 'https://a.example', events: '*'}]"
    path = commands.folder / "new.jsonl"
    done = await commands.apply(text, "--new-secrets", str(path), key=ACME)
    (line,) = map(json.loads, path.read_text().splitlines())
    a = named(stage, "a")
    assert line["secret"] == stage.ring.open(a.secrets[0], a.secret_owner) and line["uid"] == "a"
    assert line["secret"] not in done.out + done.err and "generated" not in done.err
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_changed_endpoint_is_not_overwritten(
    stage: Stage, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody changes the endpoint between the plan and its change."""
    from app.cli.configuration import carry_out

    stage.endpoint(id_="ep_1", uid="a", url="https://a.example", version=4)
    original = carry_out._send_endpoint

    async def late(api: Any, change: Any, values: Any) -> Any:
        stage.feed.directory.put_endpoint(stage.endpoint(id_="ep_1", uid="a", url="https://z.example", version=5))
        return await original(api, change, values)

    monkeypatch.setattr(carry_out, "_send_endpoint", late)
    done = await commands.apply("endpoints: [{uid: a, url: 'https://b.example', events: '*'}]", key=ACME)
    assert done.code == 3 and "failed: endpoint a" in done.err
    assert named(stage, "a").url == "https://z.example"


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("- 1", ["1: must be a mapping with `tenants`"]),
        ("tenats: []", ["1: tenats: is not a field"]),
        ("tenants: 5", ["1: tenants: must be a list or nothing, not a whole number"]),
        ("tenants: [5, {name: x}, {id: 5}]", ["1: a tenant is a mapping with an `id`"] * 3),
        ("tenants:\n- id: a b\n  nam: x", ["2: id:", "3: nam: is not a field"]),
        ("tenants:\n- id: a\n  live:\n    endpoint: []", ["4: endpoint: is not a field"]),
        ("tenants: [{id: a, name: x}, {id: a, name: y}]", ["1: tenant a is described twice, first in"]),
        ("event_types: [{name: 'a b'}, {name: a, mode: no}]", ["1: name: letters", "1: mode:"]),
        (
            "endpoints:\n- uid: 5\n  url: x",
            ["2: events: is required", "2: uid: must be text, not a whole number; write"],
        ),
        (
            "endpoints:\n- uid: ep_1\n  url: ftp://x\n  events: [..]",
            ["2: uid: 'ep_1'", "3: url: must begin", "4: events:"],
        ),
        (
            "endpoints:\n- uid: a\n  url: https://a.example\n  events: '*'\n  secret: plain\n  headers:\n"
            "    Cookie: x\n    X-A: env:A\n    Host: b",
            [
                "5: secret: is a secret: write env:NAME",
                "7: headers.Cookie: is a secret",
                "8: headers.X-A: values are seal",
            ],
        ),
        (
            "endpoints:\n- {uid: a, url: https://a.example, events: b}\n- {uid: a, url: https://b.example, events: b}",
            ["3: endpoint a is described twice, first in"],
        ),
        (
            "endpoints:\n- uid: a\n  url: https://a.example\n  events: '*'\n  schedule: [-1]\n",
            ["5: schedule.0: at least 0"],
        ),
        ("a: 1\na: 2", ["2: 'a' occurs twice"]),
    ],
)
async def test_a_bad_file_is_refused_with_place_and_sentence(
    commands: Commands, text: str, problems: list[str]
) -> None:
    done = await commands.apply(text)
    assert (done.code, done.out) == (2, "")
    lines = done.err.splitlines()
    for problem in problems:
        assert any(f"hookstream.yaml:{problem}" in line for line in lines), done.err


async def test_many_problems_are_cut(commands: Commands) -> None:
    done = await commands.apply("\n".join(["endpoints:", *["- {a: 1}"] * 5000]))
    assert done.code == 2 and len(done.err.splitlines()) == 51 and done.err.endswith("… and more\n")


async def test_files_that_are_not_there_are_wrong_usage(commands: Commands, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name, sentence in (("nowhere.yaml", "No such file"), ("empty", "has no files that end in .yaml")):
        done = await commands("apply", "-f", str(tmp_path / name))
        assert done.code == 2 and sentence in done.err


async def test_values_cannot_forge_lines_of_the_terminal(commands: Commands) -> None:
    text = 'endpoints: [{uid: a, url: "https://a.example", events: "*", description: "x\\n+ endpoint b\\e[31m"}]'
    done = await commands.apply(text, "--dry-run", key=ACME)
    assert "\x1b" not in done.out and "\n+ endpoint b" not in done.out


async def test_an_export_is_what_apply_finds_unchanged(stage: Stage, commands: Commands, whole: str) -> None:
    await commands.apply(whole)
    stage.endpoint(id_="ep_7")
    stage.endpoint(
        id_="ep_8",
        uid="odd",
        profile="voxscriber",
        disable_after_failures=0,
        description="no: 1e3\n# x",
        filter={"data": {"a": {"$gte": 1}}},
        ordering="fifo",
    )
    folder = commands.folder / "out"
    done = await commands("export", "-o", str(folder))
    assert done.code == 0 and done.out == f"4 files in {folder}, 4 changed.\n"
    assert "left out, without a uid: ep_7 of acme/live" in done.err and "1 endpoint with sealed values" in done.err
    text = "".join(path.read_text() for path in folder.rglob("*.yaml"))
    assert "very-secret" not in text and "whsec" not in text and "disable_after_failures: 0" in text
    for words in (["--dry-run"], []):
        again = await commands("apply", "-f", str(folder), *words)
        assert again.code == 0 and again.out.startswith("Nothing to change: 9 entries"), again.out
    repeated = await commands("export", "-o", str(folder))
    assert repeated.out == f"4 files in {folder}, 0 changed.\n"
    own = await commands("export", key=ACME)
    assert (await commands.apply(own.out, key=ACME)).out.startswith("Nothing to change: 4 entries")
    some = await commands("export", "--tenant", "fresh")
    assert "id: fresh" in some.out and "acme" not in some.out
    assert (await commands("export", "--tenant", "nobody")).code == 3
    assert (await commands("export", "-o", "json")).code == 2


async def test_files_from_standard_input_and_folders(stage: Stage, commands: Commands) -> None:
    entry = "endpoints: [{uid: %s, url: 'https://%s.example', events: '*'}]"
    commands.write("c/a.yaml", entry % ("a", "a"))
    commands.write(
        "c/deep/b.json", json.dumps({"endpoints": [{"uid": "b", "url": "https://b.example", "events": "*"}]})
    )
    commands.write("c/.hidden/c.yaml", "not: [valid")
    commands.write("c/notes.txt", "not: [valid")
    done = await commands("apply", "-f", str(commands.folder / "c"), "-f", "-", key=ACME, stdin=entry % ("z", "z"))
    assert done.out.splitlines()[-1] == "3 changes made."
    assert [named(stage, uid).url for uid in "abz"] == [f"https://{uid}.example" for uid in "abz"]
