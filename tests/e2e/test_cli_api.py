"""The commands through the API of a running service, and the client against servers that misbehave."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest

from app.adapters.http.api_client import ApiClient
from app.core.secret_text import SecretText
from tests.conftest import RealBroker
from tests.e2e.commands import hookstream
from tests.e2e.harness import ADMIN_TOKEN, HOOKSTREAM, Service, inbox
from tests.patience import PATIENCE_S


class Commands:
    """Commands with the address and key of one tenant."""

    def __init__(self, url: str, key: str, folder: Path) -> None:
        self.url = url
        self.key_file = folder / f"{token_hex(4)}.key"
        self.key_file.write_text(key)

    async def __call__(self, *words: str, stdin: str = "", expect: int = 0) -> Any:
        """The JSON of a command."""
        given = (*words, "--url", self.url, "--key-file", str(self.key_file), "-o", "json")
        ended = await hookstream(*given, stdin=stdin, expect=expect)
        return ended.json() if expect == 0 else ended


@pytest.fixture
async def operator(shared: Service, tmp_path: Path) -> Commands:
    return Commands(shared.api_url, ADMIN_TOKEN, tmp_path)


@pytest.fixture
async def acme(shared: Service, tmp_path: Path) -> Commands:
    """Commands of a fresh tenant."""
    return Commands(shared.api_url, await shared.key(f"acme-{token_hex(4)}"), tmp_path)


async def test_an_endpoint_from_its_registration_to_its_removal(acme: Commands) -> None:
    async with inbox() as (box, base):
        made = await acme("endpoints", "add", f"{base}/standard", "--events", "user.*", "--label", "a=b")
        id_ = made["id"]
        assert made["secret"].startswith("whsec_") and made["metadata"] == {"a": "b"} and made["mode"] == "live"
        assert [each["id"] for each in await acme("endpoints", "list")] == [id_]
        assert "secret" not in await acme("endpoints", "show", id_)
        changed = await acme("endpoints", "update", id_, "--new-url", f"{base}/standard/b", "--schedule", "0,1")
        assert changed["url"] == f"{base}/standard/b" and changed["schedule"] == [0, 1]
        back = await acme("endpoints", "update", id_, "--clear", "schedule", "--expect-version", "2")
        assert len(back["schedule"]) == 10
        stale = await acme("endpoints", "update", id_, "--description", "x", "--expect-version", "2", expect=3)
        assert "refused (conflict)" in stale.err and stale.out == ""
        (sent,) = await acme("events", "send", "-", stdin='{"type":"user.created","data":{"n":1.50}}')
        await box.until(lambda: bool(box.received))
        assert box.received[0].event_id == sent["id"] and b'{"n":1.50}' in box.received[0].body
        assert await acme("endpoints", "remove", id_) == {"id": id_, "removed": True}
        assert await acme("endpoints", "list") == []
        assert "refused (not_found)" in (await acme("endpoints", "show", id_, expect=3)).err


async def test_every_action_of_an_endpoint(acme: Commands, tmp_path: Path) -> None:
    made = await acme("endpoints", "add", "https://acme.example/hook", "--events", "user.*")
    for action, status in (("pause", "paused"), ("resume", "active"), ("disable", "disabled"), ("enable", "active")):
        assert (await acme("endpoints", action, made["id"]))["status"] == status
    replay = await acme("endpoints", "recover", made["id"])
    assert replay["endpoint"] == made["id"] and replay["reason"] == "recover"
    assert (await acme("replay", "show", replay["id"]))["id"] == replay["id"]
    assert replay["id"] in [each["id"] for each in await acme("replay", "list")]
    # it has nothing to do and may be done already: then it stays so
    assert (await acme("replay", "cancel", replay["id"]))["state"] in ("cancelled", "done")
    rotated = await acme("endpoints", "rotate-secret", made["id"], "--overlap", "60")
    assert rotated["secret"] != made["secret"] and len(rotated["secrets"]) == 2
    (tmp_path / "own").write_text("whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n")
    own = await acme("endpoints", "rotate-secret", made["id"], "--secret-file", str(tmp_path / "own"))
    assert own["secret"] == "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
    assert (await acme("endpoints", "update", made["id"], "--status", "disabled"))["status"] == "disabled"


async def test_a_test_event_tells_what_the_receiver_did_and_its_exit_code_does_too(acme: Commands) -> None:
    async with inbox() as (box, base):
        made = await acme("endpoints", "add", f"{base}/standard?fault=status:200,503", "--events", "user.*")
        good = await acme("endpoints", "test", made["id"], "--type", "user.created", "--data", '{"n": 7.10}')
        assert good["ok"] and good["status"] == 200 and b"7.10" in box.received[0].body
        bad = await acme("endpoints", "test", made["id"], expect=1)
        assert bad.json()["status"] == 503 and not bad.json()["ok"]
        words = ("endpoints", "test", made["id"], "--url", acme.url, "--key-file", str(acme.key_file))
        table = await hookstream(*words, expect=None)
        assert "503" in table.out and "answered 503" in table.out and " ms" in table.out
    gone = await acme("endpoints", "test", made["id"], expect=1)
    assert gone.json()["status"] is None and gone.json()["reason"]


async def test_a_tenants_own_event_types(acme: Commands) -> None:
    put = await acme(
        "event-types", "add", "order.shipped", "--schema", "-", "--enforce", "reject", stdin='{"required":["n"]}'
    )
    assert put["schema"] == {"required": ["n"]} and put["mode"] == "reject" and put["profile"] is None
    assert "order.shipped" in [each["name"] for each in await acme("event-types", "list")]
    assert (await acme("event-types", "show", "order.shipped"))["version"] == 1
    assert (await acme("event-types", "delete", "order.shipped"))["deleted"]
    assert "refused (not_found)" in (await acme("event-types", "show", "order.shipped", expect=3)).err


async def test_a_catalogue_for_all_tenants_out_of_an_openapi_document(
    shared: Service, acme: Commands, tmp_path: Path
) -> None:
    name = f"order.x{token_hex(3)}"
    (tmp_path / "api.yaml").write_text(
        f"openapi: 3.1.0\nwebhooks:\n  {name}:\n    post:\n      summary: Paid\n"
        "      requestBody: {content: {application/json: {schema: {type: object}}}}\n"
    )
    operator = ("--installation", "--url", shared.api_url, "--key", ADMIN_TOKEN)
    words = ("event-types", "import", str(tmp_path / "api.yaml"), *operator)
    dry = await hookstream(*words, "--dry-run")
    assert name in dry.out and "1 would be added" in dry.out
    assert "refused (not_found)" in (await acme("event-types", "show", name, expect=3)).err
    assert (await hookstream(*words, "-o", "json")).json()["added"] == 1
    seen = await acme("event-types", "show", name)
    assert (seen["source"], seen["description"], seen["schema"]) == ("installation", "Paid", {"type": "object"})
    assert name in [each["name"] for each in await acme("event-types", "list")]
    assert "refused (not_found)" in (await acme("event-types", "delete", name, expect=3)).err
    await hookstream("event-types", "delete", name, *operator)
    assert name not in [each["name"] for each in await acme("event-types", "list")]


async def test_many_events_are_sent_in_batches_and_an_error_lists_the_accepted_ones(
    acme: Commands, tmp_path: Path
) -> None:
    lines = [f'{{"type":"user.created","data":{{}},"id":"evt_{number}"}}' for number in range(2100)]
    (tmp_path / "many").write_text("\n".join(lines))
    assert [each["id"] for each in await acme("events", "send", str(tmp_path / "many"))] == [
        f"evt_{number}" for number in range(2100)
    ]
    lines[1500] = '{"type":"user.created","data":{},"tenant":"other"}'
    (tmp_path / "bad").write_text("\n".join(lines))
    ended = await acme("events", "send", str(tmp_path / "bad"), expect=3)
    assert len(ended.json()) == 1000, "what is in the log is said"
    assert "`tenant` (at /500" in ended.err and "1000 of 2100 events were accepted" in ended.err


async def test_a_list_is_whole_however_many_pages_it_has(shared: Service, operator: Commands) -> None:
    name = f"many-{token_hex(4)}"
    await shared.key(name)
    async with ApiClient(shared.api_url, SecretText(ADMIN_TOKEN)) as api:
        for _ in range(104):
            await api.post("tenants", name, "keys", body={"mode": "test"})
    assert len({each["id"] for each in await operator("keys", "list", "--tenant", name)}) == 105


async def test_only_the_operator_manages_tenants_and_keys(operator: Commands, tmp_path: Path) -> None:
    name = f"t-{token_hex(4)}"
    assert (await operator("tenants", "add", name, "--name", "One"))["version"] == 1
    assert (await operator("tenants", "add", name, "--name", "Two"))["name"] == "Two"
    assert (await operator("tenants", "show", name))["version"] == 2
    assert name in [each["id"] for each in await operator("tenants", "list")]
    made = await operator("keys", "create", "--tenant", name, "--mode", "test", "--scope", "read")
    reader = Commands(operator.url, made["key"], tmp_path)
    assert await reader("endpoints", "list") == []
    refused = await reader("endpoints", "add", "https://x.example", expect=3)
    assert "forbidden" in refused.err and "lacks the scope write" in refused.err
    assert "forbidden" in (await reader("tenants", "list", expect=3)).err
    other = await reader("endpoints", "add", "https://x.example", "--mode", "live", "--tenant", "x", expect=2)
    assert "--tenant" in other.err and "--mode live" in other.err
    shown = [each for each in await operator("keys", "list") if each["tenant"] == name]
    assert [each["last4"] for each in shown] == [made["key"][-4:]] and "key" not in shown[0]
    assert (await operator("keys", "revoke", made["id"], "--tenant", name))["revoked"]
    assert "unauthorized" in (await reader("endpoints", "list", expect=3)).err


async def test_errors_name_the_option(acme: Commands) -> None:
    ended = await acme("endpoints", "add", "https://x.example", "--header", "Host: a", "--timeout", "9999", expect=3)
    assert "refused (invalid)" in ended.err and "--timeout: at most" in ended.err and ended.out == ""


async def test_url_of_update_is_the_apis_only_next_to_a_key(acme: Commands) -> None:
    said = (await acme("endpoints", "update", "ep_1", expect=2)).err
    assert "--new-url" in said, "a forgotten --new-url sends the key nowhere"
    both = await hookstream("endpoints", "update", "ep_1", "--url", "https://a", "--new-url", "https://b", expect=2)
    assert "--key-file" in both.err


async def test_a_file_of_contexts_is_enough(shared: Service, tmp_path: Path) -> None:
    folder = tmp_path / "hookstream"
    folder.mkdir()
    (folder / "live.key").write_text(await shared.key(f"p-{token_hex(4)}"))
    (folder / "config.toml").write_text(
        f'[context.default]\nurl = "{shared.api_url}"\nkey_file = "live.key"\nadmin_token = "{ADMIN_TOKEN}"\n'
    )
    (folder / "config.toml").chmod(0o600)
    environ = {"XDG_CONFIG_HOME": str(tmp_path)}
    made = (await hookstream("endpoints", "add", "https://p.example", "-o", "json", environ=environ)).json()
    assert (await hookstream("endpoints", "show", made["id"], "-o", "json", environ=environ)).json()["version"] == 1
    assert (await hookstream("tenants", "list", environ=environ)).code == 0
    own = ("--config", str(folder / "config.toml"), "--context", "default")
    over_api = await hookstream("endpoints", "list", *own, "-o", "json", environ=shared.environ)
    assert [each["id"] for each in over_api.json()] == [made["id"]]
    over_kafka = await hookstream("endpoints", "list", "-o", "json", environ=shared.environ | environ)
    assert made["id"] in [each["id"] for each in over_kafka.json()] and "tenant" in over_kafka.json()[0]
    explained = await hookstream("replay", "list", environ=shared.environ | environ, expect=2)
    assert "--context default" in explained.err


async def test_a_running_up_is_found_with_its_token(broker: RealBroker, prefix: str, tmp_path: Path) -> None:
    environ = {
        "HOOKSTREAM_DATA_DIR": str(tmp_path / "data"),
        "HOOKSTREAM_TOPIC_PREFIX": prefix,
        "HOOKSTREAM_API_PORT": "0",
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
    }
    kafka = {"HOOKSTREAM_BOOTSTRAP_SERVERS": broker.bootstrap, "HOOKSTREAM_REPLICATION_FACTOR": "1"}
    up = await asyncio.create_subprocess_exec(
        HOOKSTREAM, "up", env=environ | kafka, stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        await asyncio.wait_for(_until_ready(up), PATIENCE_S)
        assert (tmp_path / "data" / "admin.token").stat().st_mode & 0o777 == 0o600
        await hookstream("tenants", "add", "acme", "-o", "json", environ=environ)
        made = await hookstream("keys", "create", "--tenant", "acme", "--mode", "test", "-o", "json", environ=environ)
        missing = await hookstream("replay", "list", environ=environ, expect=2)
        assert "hookstream keys create" in missing.err
        words = ("endpoints", "add", "https://x.example", "--key-file", "-", "-o", "json")
        endpoint = await hookstream(*words, environ=environ, stdin=made.json()["key"])
        assert endpoint.json()["mode"] == "test"
        over_kafka = await hookstream("endpoints", "list", "-o", "json", environ=environ)
        assert [(each["id"], each["tenant"]) for each in over_kafka.json()] == [(endpoint.json()["id"], "acme")]
    finally:
        up.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(up.wait(), PATIENCE_S) == 0


async def _until_ready(up: asyncio.subprocess.Process) -> None:
    assert up.stdout is not None
    while b"Ready" not in (line := await up.stdout.readline()):
        assert line, "`up` has ended"


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("endpoints add --mode", ["live", "test"]),
        ("endpoints add --events user.*,bot.d", ["user.*,bot.done"]),
        ("endpoints add --profile b", ["bota"]),
        ("keys create --scope", ["read", "write", "pull"]),
        ("endpoints rot", ["rotate-secret", "rotate-key"]),
    ],
)
async def test_the_shell_completes(words: str, offered: list[str]) -> None:
    line = f"hookstream {words}" + (" " if words.endswith(("--mode", "--scope")) else "")
    environ = {"_HOOKSTREAM_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    assert (await hookstream(environ=environ, expect=None)).out.split() == offered


async def test_completion_can_be_installed(tmp_path: Path) -> None:
    named = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}  # nothing may be a shell above the tests
    assert "complete -o default" in (await hookstream("--show-completion", "bash", environ=named)).out
    await hookstream("--install-completion", "bash", environ={"HOME": str(tmp_path), **named})
    assert (tmp_path / ".bash_completions" / "hookstream.sh").exists()


# --- the client, and servers that misbehave ---
