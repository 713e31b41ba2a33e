"""Password, certificate and certificate authority of Kafka are replaced while the service runs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import JAR_CACHE, apart
from tests.e2e.harness import Service, inbox, pause
from tests.patience import PATIENCE_S
from tests.secure_broker import Authority, SecureBroker


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[SecureBroker]:
    """A broker whose SCRAM user `plain` may do everything."""
    broker = SecureBroker(tmp_path / "broker", JAR_CACHE)
    try:
        apart(broker.own.start())
        apart(broker.add_users({"plain": "first"}))
        yield broker
    finally:
        apart(broker.own.stop())


async def send(service: Service, key: str, event_id: str) -> None:
    """Send an event, again while Kafka is away."""
    event = {"id": event_id, "type": "order.paid", "data": {}}
    async with asyncio.timeout(PATIENCE_S):
        while (await service.ask("POST", "/v1/events", event, key=key)).status != 202:
            await pause(0.5)


async def test_the_service_goes_on_after_a_rotation(secured: SecureBroker, prefix: str, tmp_path: Path) -> None:
    password, trusted = tmp_path / "password", tmp_path / "ca.pem"
    password.write_text("first")
    trusted.write_bytes(secured.authority.ca_file.read_bytes())
    settings = {
        "HOOKSTREAM_KAFKA_SECURITY": "sasl_ssl",
        "HOOKSTREAM_KAFKA_CA_FILE": str(trusted),
        "HOOKSTREAM_KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
        "HOOKSTREAM_KAFKA_USERNAME": "plain",
        "HOOKSTREAM_KAFKA_PASSWORD_FILE": str(password),
        "HOOKSTREAM_PARTITIONS": "2",
    }
    service = Service(secured.address("sasl_ssl"), prefix, tmp_path / "data", settings)
    async with inbox("status:200") as (box, url):
        await service.cli("topics", "apply")
        await service.start()
        try:
            key = await service.key("acme")
            hook = {"url": f"{url}/standard", "events": ["*"]}
            created = await service.ask("POST", "/v1/webhooks", hook, key=key)
            assert created.status == 201, created
            await send(service, key, "evt_before")
            await box.until(lambda: "evt_before" in {each.event_id for each in box.received})

            await secured.add_users({"plain": "second"})
            password.write_text("second")
            successor = Authority(tmp_path / "successor", "successor")
            trusted.write_bytes(secured.authority.ca_file.read_bytes() + successor.ca_file.read_bytes())
            await secured.own.stop()
            secured.replace_keystore(successor)
            await secured.own.start()

            await send(service, key, "evt_after")
            await box.until(lambda: "evt_after" in {each.event_id for each in box.received})
            assert service.alive
            await service.until_ready()
        finally:
            await service.stop()
