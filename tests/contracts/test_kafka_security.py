"""Clients reach a broker with TLS, SASL and certificates, and a failure names its cause and the setting to change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.adapters.kafka.admin import KafkaAdmin
from app.adapters.kafka.clients import KafkaClients
from app.adapters.kafka.producer import KafkaProducer
from app.core.errors import ConfigError, Unavailable
from app.core.kafka_connection import KafkaConnection
from tests.conftest import JAR_CACHE, apart
from tests.secure_broker import Authority, SecureBroker


@dataclass
class Cluster:
    """A secured broker with the SCRAM user `plain`, who may do everything."""

    broker: SecureBroker
    folder: Path

    def scram(self, password: str = "scram-secret", **changes: Any) -> KafkaConnection:
        return self.broker.scram("plain", password, **changes)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("secure")
    broker = SecureBroker(folder, JAR_CACHE)
    try:
        apart(broker.own.start())
        apart(broker.add_users({"plain": "scram-secret"}))
        yield Cluster(broker, folder)
    finally:
        apart(broker.own.stop())


async def brokers(connection: KafkaConnection) -> int:
    async with KafkaAdmin(KafkaClients(connection)) as admin:
        return await admin.brokers()


async def refusal(connection: KafkaConnection) -> str:
    with pytest.raises(Unavailable) as raised:
        await brokers(connection)
    return str(raised.value)


async def test_scram_and_plain_over_tls_and_without(cluster: Cluster) -> None:
    assert await brokers(cluster.scram()) == 1
    plain: dict[str, Any] = {"sasl_mechanism": "PLAIN", "password": "plain-secret"}
    assert await brokers(cluster.scram(**plain)) == 1
    bare: dict[str, Any] = {
        "security": "sasl_plaintext",
        "bootstrap": cluster.broker.address("sasl_plain"),
        "ca_file": None,
    }
    assert await brokers(cluster.scram(**bare)) == 1


async def test_a_wrong_password_names_the_user(cluster: Cluster) -> None:
    sentence = await refusal(cluster.scram("wrong"))
    assert (
        f"SASL authentication failed for user plain at {cluster.broker.address('sasl_ssl')} (SCRAM-SHA-512" in sentence
    )
    assert "HOOKSTREAM_KAFKA_PASSWORD" in sentence
    assert "wrong" not in sentence
    wrong = cluster.scram(sasl_mechanism="PLAIN", password="wrong")
    assert "SASL authentication failed for user plain" in await refusal(wrong)


async def test_a_mechanism_that_the_listener_does_not_offer(cluster: Cluster) -> None:
    sentence = await refusal(cluster.scram(sasl_mechanism="SCRAM-SHA-256"))
    assert "does not offer HOOKSTREAM_KAFKA_SASL_MECHANISM=SCRAM-SHA-256" in sentence
    assert "sasl.enabled.mechanisms" in sentence


async def test_listeners_of_another_security_protocol(cluster: Cluster) -> None:
    broker = cluster.broker
    plaintext = KafkaConnection(bootstrap=broker.address("sasl_ssl"))
    assert f"{broker.address('sasl_ssl')} uses TLS, but HOOKSTREAM_KAFKA_SECURITY is plaintext" in await refusal(
        plaintext
    )
    tls = KafkaConnection(bootstrap=broker.address("plain"), security="ssl", ca_file=broker.authority.ca_file)
    assert f"{broker.address('plain')} does not use TLS, but HOOKSTREAM_KAFKA_SECURITY is ssl" in await refusal(tls)
    no_sasl = KafkaConnection(bootstrap=broker.address("sasl_ssl"), security="ssl", ca_file=broker.authority.ca_file)
    assert "probably requires SASL, but HOOKSTREAM_KAFKA_SECURITY is ssl: set sasl_ssl" in await refusal(no_sasl)
    sasl = cluster.scram(security="sasl_plaintext", bootstrap=broker.address("plain"), ca_file=None)
    assert "does not use SASL, but HOOKSTREAM_KAFKA_SECURITY is sasl_plaintext: set plaintext" in await refusal(sasl)


async def test_certificates_that_do_not_fit(cluster: Cluster) -> None:
    broker = cluster.broker
    stranger = Authority(cluster.folder / "stranger", "stranger").ca_file
    sentence = await refusal(cluster.scram(ca_file=stranger))
    assert "is signed by an unknown authority" in sentence
    assert "HOOKSTREAM_KAFKA_CA_FILE" in sentence
    odd = KafkaConnection(bootstrap=broker.address("odd"), security="ssl", ca_file=broker.authority.ca_file)
    sentence = await refusal(odd)
    assert "is for another name" in sentence
    assert "advertised.listeners" in sentence


async def test_missing_rights_name_the_user_and_the_remedy(cluster: Cluster) -> None:
    await cluster.broker.add_users({"nobody": "nothing"})
    producer = KafkaProducer(KafkaClients(cluster.broker.scram("nobody", "nothing")), client_id="test")
    with pytest.raises(Unavailable, match=r"missing rights \(ClusterAuthorizationFailed.*grant to user nobody.*acls"):
        await producer.start([])


async def test_mutual_tls_and_its_absence(cluster: Cluster) -> None:
    broker = cluster.broker
    bare = KafkaConnection(bootstrap=broker.address("mutual"), security="ssl", ca_file=broker.authority.ca_file)
    assert "demands a certificate of the client" in await refusal(bare)
    certificate, key = broker.authority.issue("client")
    assert await brokers(msgspec.structs.replace(bare, cert_file=certificate, key_file=key)) == 1
    foreign, foreign_key = Authority(cluster.folder / "foreign", "foreign").issue("client")
    foreign_client = msgspec.structs.replace(bare, cert_file=foreign, key_file=foreign_key)
    assert "refuses the certificate of the client" in await refusal(foreign_client)


async def test_files_are_read_again_when_they_change(cluster: Cluster) -> None:
    broker = cluster.broker
    foreign = Authority(cluster.folder / "rotated", "rotated")
    certificate, key = foreign.issue("client")
    clients = KafkaClients(
        KafkaConnection(
            bootstrap=broker.address("mutual"),
            security="ssl",
            ca_file=broker.authority.ca_file,
            cert_file=certificate,
            key_file=key,
        )
    )
    with pytest.raises(Unavailable, match="refuses the certificate"):
        async with KafkaAdmin(clients):
            pass
    fresh, fresh_key = broker.authority.issue("client")
    certificate.write_bytes(fresh.read_bytes())  # half of a rotation: the former pair stays in use
    with pytest.raises(Unavailable, match="refuses the certificate"):
        async with KafkaAdmin(clients):
            pass
    key.write_bytes(fresh_key.read_bytes())
    async with KafkaAdmin(clients) as admin:
        assert await admin.brokers() == 1


def test_files_that_are_no_certificates_stop_the_start(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("-")
    with pytest.raises(ConfigError, match=r"ca\.pem"):
        KafkaClients(KafkaConnection(bootstrap="k:9092", security="ssl", ca_file=file))
