"""No secret, key or token is found in clear in any topic, log line, error, answer or `config print`."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from aiokafka import AIOKafkaConsumer, TopicPartition

from tests.conftest import RealBroker
from tests.e2e.harness import ADMIN_TOKEN, Service, inbox
from tests.patience import PATIENCE_S


async def everything(bootstrap: str, prefix: str) -> bytes:
    """The bytes of all records of all topics with that prefix."""
    client = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", group_id=None)
    await client.start()
    try:
        metadata = await client._client.fetch_all_metadata()
        topics = [each for each in metadata.topics() if each.startswith(prefix)]
        places = [TopicPartition(each, number) for each in topics for number in metadata.partitions_for_topic(each)]
        client.assign(places)
        ends, found = await client.end_offsets(places), bytearray()
        async with asyncio.timeout(PATIENCE_S):
            while any([await client.position(place) < end for place, end in ends.items()]):
                batches = await client.getmany(timeout_ms=300)
                for record in (record for records in batches.values() for record in records):
                    texts = (record.key or b"", record.value or b"", *(value for _, value in record.headers))
                    found += b"\n".join(texts)
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
            private = "whsk_cHJpdmF0ZS1rZXktb2YtYS10ZXN0LTMyLWJ5dGVzISE="
            made = await running.ask(
                "POST",
                "/v1/webhooks",
                {
                    "url": f"{base}/standard/a",
                    "events": "*",
                    "secret": own,
                    "signature_scheme": "both",
                    "signing_key": private,
                },
                key=key,
            )
            path = f"/v1/webhooks/{made.body['id']}"
            rotated = await running.ask("POST", f"{path}/rotate-secret", key=key)
            answers = [
                await running.ask("POST", f"{path}/rotate-signing-key", key=key),
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
        "private key": private.removeprefix("whsk_"),
        "private key, as bytes": "private-key-of-a-test-32-bytes!!",
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
