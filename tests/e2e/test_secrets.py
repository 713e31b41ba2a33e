"""No secret, key or token is found in clear in any topic, log line, error, answer or `config print`."""

from __future__ import annotations

import json
from pathlib import Path

from aiokafka import AIOKafkaConsumer

from tests.conftest import RealBroker
from tests.e2e.harness import ADMIN_TOKEN, Service, inbox


async def everything(bootstrap: str, prefix: str) -> bytes:
    """The bytes of all records of all topics with that prefix."""
    client = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", group_id=None)
    await client.start()
    try:
        topics = [each for each in await client.topics() if each.startswith(prefix)]
        client.subscribe(topics)
        found, quiet = bytearray(), 0
        while quiet < 4:
            batches = await client.getmany(timeout_ms=300)
            quiet = 0 if batches else quiet + 1
            for record in (record for records in batches.values() for record in records):
                found += b"\n".join((record.key or b"", record.value or b"", *(value for _, value in record.headers)))
        assert b"endpoint.create" in found and b'"result":"http_5xx"' in found, "nothing was read"
        return bytes(found)
    finally:
        await client.stop()


async def test_secrets_stay_secret(broker: RealBroker, prefix: str, tmp_path: Path) -> None:
    running = Service(broker.bootstrap, prefix, tmp_path, {"HOOKSTREAM_LOG_LEVEL": "debug"})
    log = tmp_path / "log"
    await running.cli("topics", "apply")
    with log.open("wb") as running.output:
        await running.start()
        async with inbox("status:500,200") as (_, base):
            key = await running.key("acme")
            own = "whsec_bXktb3duLXNlY3JldC1vZi0yNC1ieXRlcyEh"
            made = await running.ask(
                "POST", "/v1/webhooks", {"url": f"{base}/standard/a", "events": "*", "secret": own}, key=key
            )
            path = f"/v1/webhooks/{made.body['id']}"
            rotated = await running.ask("POST", f"{path}/rotate-secret", key=key)
            answers = [
                await running.ask("POST", f"{path}/test", key=key),
                await running.ask("GET", path, key=key),
                await running.ask("GET", "/v1/webhooks", key=key),
                await running.ask("GET", "/v1/tenants/acme/keys"),
                await running.ask("POST", "/v1/webhooks", {"url": 1, "secret": own}, key=key),
                await running.ask("POST", "/v1/webhooks", {"url": base, "events": "*", "secret": own[:-9]}, key=key),
                await running.ask("GET", "/v1/webhooks", key=key + "x"),
                await running.ask("POST", "/v1/events", {"type": "a.b", "data": {}}, key=key),
            ]
        printed = str(await running.cli("config", "print"))
        assert await running.stop() == 0
    ring = running.environ["HOOKSTREAM_SECRET_KEYS"].partition(":")[2]
    secrets = {
        "given": own,
        "made": rotated.body["secret"],
        "key": key,
        "token": ADMIN_TOKEN,
        "ring": ring,
        "given, as bytes": "my-own-secret-of-24-bytes!!",
    }
    places = {
        "topics": await everything(broker.bootstrap, prefix),
        "log": log.read_bytes(),
        "answers": json.dumps([each.body for each in answers]).encode(),
        "config print": printed.encode(),
    }
    assert places["log"], "nothing was logged"
    leaks = [
        (what, where) for what, text in secrets.items() for where, found in places.items() if text.encode() in found
    ]
    assert not leaks
