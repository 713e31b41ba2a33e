"""Every role works over SASL_SSL with the rights that `topics export` prints for it, and with no other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from app.core import registry_backup
from app.runtime.rights import rights_of
from app.runtime.rights_export import merged
from app.runtime.roles import EVERYWHERE, GROUPS, ROLES
from app.runtime.topics import topics_of
from app.settings import Settings
from tests.conftest import JAR_CACHE, apart
from tests.e2e.commands import hookstream
from tests.e2e.harness import Service, inbox, pause
from tests.patience import PATIENCE_S
from tests.secure_broker import Acl, SecureBroker
from tests.stock_tools import StockTools

PASSWORDS = {f"hookstream-{name}": f"secret of {name}" for name in (*ROLES, "cli")}


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureBroker]:
    """A broker on which each role has a user, without any right."""
    broker = SecureBroker(tmp_path_factory.mktemp("broker"), JAR_CACHE)
    try:
        apart(broker.own.start())
        apart(broker.add_users(PASSWORDS))
        yield broker
    finally:
        apart(broker.own.stop())


def settings_of(broker: SecureBroker, role: str) -> dict[str, str]:
    user = f"hookstream-{role}"
    return {
        "HOOKSTREAM_KAFKA_SECURITY": "sasl_ssl",
        "HOOKSTREAM_KAFKA_CA_FILE": str(broker.authority.ca_file),
        "HOOKSTREAM_KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
        "HOOKSTREAM_KAFKA_USERNAME": user,
        "HOOKSTREAM_KAFKA_PASSWORD": PASSWORDS[user],
        "HOOKSTREAM_PARTITIONS": "2",
    }


def process_of(broker: SecureBroker, prefix: str, data_dir: Path, role: str, **more: str) -> Service:
    """A process of one role, as that role's user; `cli` for commands."""
    settings = settings_of(broker, role) | more
    return Service(broker.address("sasl_ssl"), prefix, data_dir, settings, (role,))


async def grant_printed_rights(tools: StockTools, cli: Service) -> None:
    """Run the printed commands; Kafka's own tool lists the rights of the table afterwards."""
    await tools.run(await cli.cli("topics", "export", "--format", "acls"))
    table = merged(rights_of(topics_of(Settings(topic_prefix=cli.prefix)), cli.prefix), "hookstream-{role}")
    assert await tools.acls() == {
        Acl(user, right.resource.replace("_", "-"), right.name, operation)
        for user, rights in table.items()
        for right in rights
        for operation in right.operations
    }


@asynccontextmanager
async def every_role(broker: SecureBroker, prefix: str, data_dir: Path) -> AsyncIterator[dict[str, Service]]:
    """One process for each role; the command line has made the topics."""
    cli = process_of(broker, prefix, data_dir, "cli")
    await grant_printed_rights(StockTools(broker, data_dir / "tools", JAR_CACHE), cli)
    await cli.cli("topics", "apply")
    services = {role: process_of(broker, prefix, data_dir, role) for role in EVERYWHERE}
    async with AsyncExitStack() as stack:
        for each in services.values():
            await each.spawn()
            stack.push_async_callback(each.stop)
        for role, each in services.items():
            try:
                await each.until_ready()
            except TimeoutError:
                pytest.fail(f"{role} is not ready: {await each.readiness()}")
        yield services | {"cli": cli}


async def commands_of_the_engineer_on_call(services: Mapping[str, Service], folder: Path, key: str) -> None:
    """Run each with the printed rights of the command line, or of the role that its help names."""
    cli = services["cli"]
    rows = await cli.cli("groups", "show", "-o", "json")
    assert {each["role"] for each in rows} == set(GROUPS) & set(EVERYWHERE)
    assert await cli.cli("tail", "attempts", "--since", "1h", "--no-follow", "-o", "json")
    backup = str(folder / "registry.backup")
    saved = await cli.cli("backup", backup, "-o", "json")
    rotated = await cli.cli("keys", "rotate", "-o", "json")
    assert (rotated["unchanged"], rotated["failed"]) == (1, 0)
    (folder / "key").write_text(key)
    api = ("--url", services["api"].api_url, "--key-file", str(folder / "key"), "-o", "json")
    assert await cli.cli("dead", "list", *api) == []
    assert (await cli.cli("dead", "redrive", "--since", "begin", "--dry-run", *api))["matched"] == 0
    assert len(await cli.cli("replay", "list", *api)) == 1
    for role in ("dispatch", "registry"):
        examined = await hookstream("doctor", role, "-o", "json", environ=services[role].environ, expect=None)
        checks = {each["check"]: each["state"] for each in examined.json()["checks"]}
        assert {checks[name] for name in ("kafka", "rights", "topics", "partitions", "keys")} == {"ok"}
    for role in ("fanout", "registry"):
        assert await services[role].stop() == 0
    reset = await cli.cli("groups", "reset", "fanout", "--to-datetime", "begin", "-o", "json")
    assert reset["again"] >= 2
    assert "not_empty" in await services["registry"].cli("restore", backup, expect=3)
    assert saved["records"] > 0


async def test_one_round_with_the_printed_rights_only(secured: SecureBroker, prefix: str, tmp_path: Path) -> None:
    async with every_role(secured, prefix, tmp_path / "data") as services, inbox("status:500*1,200") as (box, url):
        api = services["api"]
        key = await api.key("acme")
        created = await api.ask(
            "POST", "/v1/webhooks", {"url": f"{url}/standard", "events": ["*"], "schedule": [0, 1]}, key=key
        )
        assert created.status == 201, created
        sent = await api.ask("POST", "/v1/events", {"type": "order.paid", "data": {"total": 1}}, key=key)
        assert sent.status == 202, sent
        await box.until(lambda: [each.status for each in box.received] == [500, 200])

        async def row() -> dict[str, object]:
            (delivery,) = (await api.ask("GET", "/v1/deliveries", key=key)).body["data"] or [{}]
            return dict(delivery)

        async with asyncio.timeout(PATIENCE_S):
            while (await row()).get("state") != "delivered":
                await pause(0.1)
        replay = await api.ask("POST", "/v1/replays", {"from": "2020-01-01T00:00:00Z"}, key=key)
        assert replay.status in (201, 202), replay
        await box.until(lambda: any("webhook-replay" in each.headers for each in box.received))
        event = b'{"type": "order.paid", "tenant": "acme", "data": {}}'
        assert await services["cli"].cli("events", "send", "-", stdin=event)
        await box.until(lambda: len(box.received) == 4)
        await commands_of_the_engineer_on_call(services, tmp_path, key)


async def test_printed_commands_create_the_topics(secured: SecureBroker, prefix: str, tmp_path: Path) -> None:
    administrator = {"HOOKSTREAM_KAFKA_USERNAME": "plain", "HOOKSTREAM_KAFKA_PASSWORD": "plain-secret"}
    cli = process_of(secured, prefix, tmp_path, "cli", HOOKSTREAM_KAFKA_SASL_MECHANISM="PLAIN", **administrator)
    tools = StockTools(secured, tmp_path / "tools", JAR_CACHE)
    printed = await cli.cli("topics", "export")
    assert len(await tools.run(printed)) == len(printed.splitlines())
    await cli.cli("topics", "verify")
    awkward = 'CN={role}, O=Ac\'me "x" ${KAFKA}'
    rights = await cli.cli("topics", "export", "--format", "acls", "--user", awkward)
    await tools.run(rights.splitlines()[1])
    granted = {each.principal for each in await tools.acls() if each.name.startswith(prefix)}
    assert granted == {awkward.replace("{role}", next(iter(ROLES)))}


async def test_a_command_names_the_rights_that_its_user_lacks(
    secured: SecureBroker, prefix: str, tmp_path: Path
) -> None:
    cli = process_of(secured, prefix, tmp_path, "cli")
    event, saved = tmp_path / "event.json", tmp_path / "empty.backup"
    event.write_text('{"type": "a.b", "data": {}}')
    saved.write_bytes(b"".join(registry_backup.encode({}, "registry", "2026-01-01T00:00:00Z")))
    commands = {
        ("topics", "verify"): ["Describe and DescribeConfigs on topic attempts"],
        ("groups", "show", "fanout"): ["Describe on group hookstream.fanout", "Describe on topic events.raw"],
        ("groups", "reset", "notifier", "--to-datetime", "begin"): ["Describe and Read on group hookstream.notifier"],
        ("tail", "deliveries", "--since", "1h", "--no-follow"): ["Read on topic deliveries"],
        ("backup", str(tmp_path / "registry.backup")): ["Read on topic registry"],
        ("restore", str(saved)): ["Write on transactional-id hookstream.registry", "Read and Write on topic registry"],
        ("keys", "rotate"): ["Read on topic registry", "Write on topic registry.commands"],
        ("events", "send", str(event)): ["Write on topic events.raw"],
    }
    for words, missing in commands.items():
        await refused(cli, words, missing)
    assert not (tmp_path / "registry.backup").exists()
    seen = [Acl("hookstream-cli", "topic", name, each) for name in names(prefix) for each in SEEING]
    await secured.allow(seen)
    await refused(cli, ("topics", "apply"), ["Create on topic attempts"])


SEEING = ("Describe", "DescribeConfigs")


def names(prefix: str) -> list[str]:
    return topics_of(Settings(topic_prefix=prefix)).all_names()


async def refused(cli: Service, words: Sequence[str], missing: Sequence[str]) -> None:
    """Kafka refuses a command; the answer names the user, each right, and the command that grants it."""
    ended = await hookstream(*words, environ=cli.environ, expect=3)
    assert "Traceback" not in ended.err
    assert "Kafka refuses user hookstream-cli " in ended.err
    for right in missing:
        operations, _, place = right.partition(" on ")
        resource, _, name = place.partition(" ")
        assert f"{operations} on {resource} {cli.prefix}{name}" in ended.err, (words, ended.err)
        what = " ".join(f"--operation {each}" for each in operations.split(" and "))
        assert f"User:hookstream-cli {what} --{resource} {cli.prefix}" in ended.err, (words, ended.err)
