"""`tail`, `dead`, `keys rotate`, `backup` and `restore` on a real service."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from app.adapters.kafka.scan import latest
from app.adapters.secrets.keyring import AesKeyRing, generate_ring
from app.core.model.endpoint import Endpoint
from tests.conftest import RealBroker
from tests.e2e.commands import hookstream
from tests.e2e.harness import Service, inbox, pause, service
from tests.kafka import clients_at
from tests.patience import LOOKS


async def send(shared: Service, tenant: str, type_: str = "user.created") -> None:
    """One event of the tenant, over Kafka."""
    event = {"type": type_, "data": {}, "tenant": tenant}
    await shared.cli("events", "send", "-", stdin=json.dumps(event).encode())


async def test_tail_shows_what_passes_the_filters(shared: Service) -> None:
    async with inbox() as (box, url):
        added = await shared.add(f"{url}/standard", tenant="tail", events="*")
        await send(shared, "tail")
        await send(shared, "tail", "order.paid")
        await box.until(lambda: len(box.received) == 2)

        async def tail(*words: str) -> list[Mapping[str, Any]]:
            ended = await hookstream("tail", *words, "-o", "json", environ=shared.environ)
            return [json.loads(line) for line in ended.out.splitlines()]

        past = ("--since", "10m", "--tenant", "tail")
        assert {each["type"] for each in await tail("events", *past, "-n", "2")} == {"user.created", "order.paid"}
        (delivery,) = await tail("deliveries", *past, "--type", "order.*", "--no-follow")
        assert delivery["endpoint"] == added["id"]
        (attempt,) = await tail("attempts", *past, "--result", "2xx", "--type", "user.created", "-n", "1")
        assert (attempt["state"], attempt["status"]) == ("delivered", 200)
        assert await tail("attempts", *past, "--state", "dead", "--no-follow") == []
        await shared.cli("endpoints", "remove", added["id"])


async def test_tail_refuses_what_cannot_work(shared: Service) -> None:
    for words in (("--no-follow",), ("--since", "yesterday"), ("--type", "a..b")):
        ended = await hookstream("tail", "events", *words, environ=shared.environ, expect=2)
        assert words[-1].lstrip("-").split("-")[0] in ended.err or "--type" in ended.err


async def test_dead_deliveries_are_listed_by_cause_and_delivered_again(shared: Service, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(await shared.key("dead"))
    api = ("--url", shared.api_url, "--key-file", str(tmp_path / "key"))
    async with inbox("status:500*1,ok") as (box, url):
        added = await shared.add(f"{url}/standard", tenant="dead", events="*", schedule="0")
        await send(shared, "dead")
        (group,) = await until(lambda: shared.cli("dead", "list", *api, "-o", "json"))
        assert (group["count"], group["endpoint"], group["last"]) == (1, added["id"], 500)
        counted = await shared.cli("dead", "redrive", *api, "--endpoint", added["id"], "--dry-run", "-o", "json")
        assert counted["matched"] == 1
        done = await shared.cli("dead", "redrive", *api, "--endpoint", added["id"], "-o", "json")
        assert done["retried"] == 1
        await box.until(lambda: len(box.received) == 2)
        assert (await hookstream("dead", "redrive", *api, expect=2)).code == 2
        await shared.cli("endpoints", "remove", added["id"])


async def test_discarded_deliveries_leave_the_dead_letters_and_can_be_retried(shared: Service, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(await shared.key("discard"))
    api = ("--url", shared.api_url, "--key-file", str(tmp_path / "key"))
    async with inbox("status:500*1,ok") as (box, url):
        added = await shared.add(f"{url}/standard", tenant="discard", events="*", schedule="0")
        await send(shared, "discard")
        await until(lambda: shared.cli("dead", "list", *api, "-o", "json"))
        counted = await shared.cli("dead", "discard", *api, "--endpoint", added["id"], "--dry-run", "-o", "json")
        assert (counted["matched"], counted["discarded"]) == (1, 0)
        assert (
            await hookstream("dead", "discard", *api, "--since", "begin", environ=shared.environ, expect=2)
        ).err.count("--why")
        reason = ("--endpoint", added["id"], "--why", "test data")
        assert (await shared.cli("dead", "discard", *api, *reason, "-o", "json"))["discarded"] == 1
        cancelled = ("deliveries", "list", *api, "--state", "cancelled", "-o", "json")
        (delivery,) = await until(lambda: shared.cli(*cancelled))
        assert (delivery["reason"], delivery["status"], delivery["attempt_count"]) == ("discarded", 500, 1)
        assert await shared.cli("dead", "list", *api, "-o", "json") == []
        await shared.cli("deliveries", "retry", *api, delivery["id"])
        await box.until(lambda: len(box.received) == 2)
        await shared.cli("endpoints", "remove", added["id"])


async def until(look: Callable[[], Awaitable[Any]]) -> Any:
    """What `look` returns, as soon as that is not empty."""
    for _ in range(LOOKS):
        if there := await look():
            return there
        await pause(0.1)
    raise AssertionError("it does not appear")


async def test_rotated_keys_open_everything_and_the_former_key_can_go(
    broker: RealBroker, prefix: str, tmp_path: Path
) -> None:
    old, new = generate_ring(), generate_ring()
    rings = {"HOOKSTREAM_SECRET_KEYS": f"{new},{old}"}
    async with service(broker.bootstrap, prefix, tmp_path, rings, roles=("registry",)) as running:
        running.environ["HOOKSTREAM_SECRET_KEYS"] = f"{old},{new}"
        for number in range(3):
            await running.add(f"http://127.0.0.1:9/{number}", events="*")
        running.environ |= rings
        done = await running.cli("keys", "rotate", "-o", "json")
        assert done == {"key": new.partition(":")[0], "sealed": 3, "unchanged": 0, "failed": 0}
        again = await running.cli("keys", "rotate", "-o", "json")
        assert (again["sealed"], again["unchanged"]) == (0, 3)
        ring = AesKeyRing(new)
        for value in (await latest(clients_at(broker.bootstrap), f"{prefix}registry", 0)).values():
            if b'"secrets"' in value:
                endpoint = msgspec.json.decode(value, type=Endpoint)
                assert ring.open(endpoint.secrets[0], f"{endpoint.tenant}/{endpoint.id}").startswith("whsec_")
        running.environ["HOOKSTREAM_SECRET_KEYS"] = generate_ring()
        lost = await hookstream("keys", "rotate", "-o", "json", environ=running.environ, expect=1)
        assert lost.json()["failed"] == 4 and "no key" in lost.err, "three endpoints, and the keys of subjects"


async def test_a_backup_restores_an_identical_registry(broker: RealBroker, prefix: str, tmp_path: Path) -> None:
    clients = clients_at(broker.bootstrap)
    file = str(tmp_path / "registry.backup")
    async with service(broker.bootstrap, prefix, tmp_path / "a", roles=("registry",)) as running:
        added = await running.add("http://127.0.0.1:9/", events="*", tenant="acme")
        saved = await running.cli("backup", file, "-o", "json")
        original = await latest(clients, f"{prefix}registry", 0)
        assert saved["records"] == len(original) >= 2
        assert "cannot be created" in await running.cli("backup", file, expect=2)
        assert "stop them first" in await running.cli("restore", file, expect=3)
    assert added["secret"] not in Path(file).read_text()
    assert "not_empty" in await running.cli("restore", file, expect=3)
    other = Service(broker.bootstrap, f"{prefix}b.", tmp_path / "b", roles=("registry",))
    assert "does not exist" in await other.cli("restore", file, expect=2)
    await other.cli("topics", "apply")
    assert (await other.cli("restore", file, "-o", "json"))["records"] == len(original)
    # the broker confirms a transaction before its records can be read
    assert await until(lambda: latest(clients, f"{prefix}b.registry", 0)) == original
    await other.start()
    try:
        shown = await other.cli("endpoints", "list", "-o", "json")
        assert [each["id"] for each in shown] == [added["id"]]
        await other.cli("endpoints", "remove", added["id"])
    finally:
        assert await other.stop() == 0
