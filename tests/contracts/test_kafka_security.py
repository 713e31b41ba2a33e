"""Clients reach a broker with TLS, SASL and certificates, and a failure names its cause and the setting to change."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.adapters.kafka.admin import KafkaAdmin
from app.adapters.kafka.clients import KafkaClients
from app.adapters.kafka.producer import KafkaProducer
from app.core.errors import ConfigError, RightMissing, Unavailable
from app.core.kafka_connection import KafkaConnection
from app.core.secret_text import SecretText
from tests.conftest import JAR_CACHE, apart
from tests.patience import PATIENCE_S
from tests.secure_broker import Acl, Authority, SecureBroker
from tests.token_issuer import CLIENT, SECRET, TokenIssuer


@dataclass
class Cluster:
    """A secured broker with the SCRAM user `plain`, who may do everything."""

    broker: SecureBroker
    folder: Path
    tokens: TokenIssuer

    def scram(self, password: str = "scram-secret", **changes: Any) -> KafkaConnection:
        return self.broker.scram("plain", password, **changes)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("secure")
    tokens = TokenIssuer(folder / "tokens")
    broker = SecureBroker(folder, JAR_CACHE, tokens)
    try:
        with pytest.MonkeyPatch.context() as environ:
            environ.setenv("JDK_JAVA_OPTIONS", tokens.java_options)
            apart(broker.own.start())
        apart(broker.add_users({"plain": "scram-secret"}))
        yield Cluster(broker, folder, tokens)
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
    assert await brokers(cluster.scram(sasl_mechanism="SCRAM-SHA-256")) == 1
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
    bare: dict[str, Any] = {
        "security": "sasl_plaintext",
        "bootstrap": cluster.broker.address("sasl_plain"),
        "ca_file": None,
    }
    sentence = await refusal(cluster.scram(**bare, sasl_mechanism="SCRAM-SHA-256"))
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


async def test_a_hidden_topic_is_no_missing_topic(cluster: Cluster) -> None:
    await cluster.broker.add_users({"half": "blind"})
    await cluster.broker.allow([Acl("half", "topic", "seen", "Write")])
    producer = KafkaProducer(KafkaClients(cluster.broker.scram("half", "blind")), client_id="test")
    with pytest.raises(RightMissing, match=r"user half Describe on topic hidden \(.* User:half .* --topic hidden"):
        await producer.start(["seen", "hidden"])
    with pytest.raises(ConfigError, match="topic seen does not exist"):
        await producer.start(["seen"])


async def test_mutual_tls_and_its_absence(cluster: Cluster) -> None:
    broker = cluster.broker
    bare = KafkaConnection(bootstrap=broker.address("mutual"), security="ssl", ca_file=broker.authority.ca_file)
    assert "demands a certificate of the client" in await refusal(bare)
    certificate, key = broker.authority.issue("client")
    certified = msgspec.structs.replace(bare, cert_file=certificate, key_file=key)
    assert await brokers(certified) == 1
    assert KafkaClients(certified).user == "CN=client", "the name of the superuser in this broker's settings"
    foreign, foreign_key = Authority(cluster.folder / "foreign", "foreign").issue("client")
    foreign_client = msgspec.structs.replace(bare, cert_file=foreign, key_file=foreign_key)
    assert "refuses the certificate of the client" in await refusal(foreign_client)


async def test_an_expired_certificate_is_named_and_its_replacements_are_accepted(
    cluster: Cluster, tmp_path: Path
) -> None:
    broker = cluster.broker
    trusted = tmp_path / "ca.pem"
    trusted.write_bytes(broker.authority.ca_file.read_bytes())
    connection = KafkaConnection(bootstrap=broker.address("renewed"), security="ssl", ca_file=trusted)
    clients = KafkaClients(connection)  # those of a process that runs all the time

    async def check() -> str:
        try:
            async with KafkaAdmin(clients):
                return "reachable"
        except Unavailable as error:
            return str(error)

    async def until(sentence: str) -> None:
        """The broker reads its certificate after the request that changes it."""
        outcome = ""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while sentence not in outcome:
                    outcome = await check()
        except TimeoutError:
            pytest.fail(outcome)

    await broker.replace_certificate(broker.authority, days=-2)
    day = (datetime.now(UTC) - timedelta(days=2)).date().isoformat()
    await until(f"The certificate of {broker.address('renewed')} expired on {day}T")
    assert "renew it on the broker" in await check()
    await broker.replace_certificate(broker.authority)
    await until("reachable")
    successor = Authority(tmp_path / "successor", "successor")
    await broker.replace_certificate(successor)
    await until("is signed by an unknown authority")
    trusted.write_bytes(broker.authority.ca_file.read_bytes() + successor.ca_file.read_bytes())
    assert await check() == "reachable"


async def test_a_changed_password_is_read_from_its_file(cluster: Cluster, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("first\n")
    await cluster.broker.add_users({"rotated": "first"})
    connection = cluster.broker.scram("rotated", "first")
    clients = KafkaClients(msgspec.structs.replace(connection, password=SecretText("first", file)))
    async with KafkaAdmin(clients) as admin:
        assert await admin.brokers() == 1
    await cluster.broker.add_users({"rotated": "second"})
    with pytest.raises(Unavailable, match="SASL authentication failed for user rotated"):
        async with KafkaAdmin(clients):
            pass
    file.write_text("second\n")
    async with KafkaAdmin(clients) as admin:
        assert await admin.brokers() == 1


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


def oauth(cluster: Cluster, **credentials: Any) -> KafkaConnection:
    return cluster.broker.sasl(sasl_mechanism="OAUTHBEARER", **credentials)


async def test_a_token_of_a_token_endpoint_is_used_for_all_connections(cluster: Cluster) -> None:
    async with cluster.tokens.endpoint() as (url, asked):
        client = {"oauth_client_id": CLIENT, "oauth_client_secret": SecretText(SECRET)}
        clients = KafkaClients(oauth(cluster, oauth_token_url=url, oauth_scope="kafka", **client))
        for _ in range(2):
            async with KafkaAdmin(clients) as admin:
                assert await admin.brokers() == 1
        assert asked == [{"grant_type": "client_credentials", "scope": "kafka"}]
        wrong = client | {"oauth_client_secret": SecretText("wrong")}
        sentence = await refusal(oauth(cluster, oauth_token_url=url, **wrong))
        assert f"{url} refuses the client hookstream (401, invalid_client: unknown client)" in sentence
        assert "HOOKSTREAM_KAFKA_OAUTH_CLIENT_SECRET" in sentence


async def test_a_connection_is_replaced_before_its_token_expires(cluster: Cluster, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(cluster.tokens.token(life_s=600))
    client = KafkaClients(oauth(cluster, oauth_token_file=file)).metadata_client("test")
    await client.bootstrap()
    try:
        (broker,) = client.cluster.brokers()
        assert await client.ready(broker.nodeId)
        (first,) = client._conns.values()
        granted_s = first._replace_at_s - first._loop.time()
        assert 0 < granted_s <= 600 * 0.85
        file.write_text(cluster.tokens.token())
        first._replace_at_s = first._loop.time()  # as if that time had passed
        assert await client.fetch_all_metadata()
        assert first not in client._conns.values()
        assert not first.connected()
        await asyncio.wait_for(first._closed_fut, PATIENCE_S)
    finally:
        await client.close()


async def test_a_token_of_a_file_is_read_for_each_connection(cluster: Cluster, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(cluster.tokens.token(aud="another"))
    clients = KafkaClients(oauth(cluster, oauth_token_file=file))
    with pytest.raises(Unavailable, match="SASL authentication failed for the token") as raised:
        async with KafkaAdmin(clients):
            pass
    assert "invalid_token" in str(raised.value)
    assert "the token has aud 'another', sub 'plain', exp 20" in str(raised.value)
    assert "sasl.oauthbearer.expected.issuer, .expected.audience" in str(raised.value)
    file.write_text(TokenIssuer(tmp_path / "stranger").token())
    with pytest.raises(Unavailable, match="SASL authentication failed for the token"):
        async with KafkaAdmin(clients):
            pass
    file.write_text(cluster.tokens.token())
    async with KafkaAdmin(clients) as admin:
        assert await admin.brokers() == 1


def test_files_that_are_no_certificates_stop_the_start(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("-")
    with pytest.raises(ConfigError, match=r"ca\.pem"):
        KafkaClients(KafkaConnection(bootstrap="k:9092", security="ssl", ca_file=file))
