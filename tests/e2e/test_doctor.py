"""`hookstream doctor` on a real service: nothing on a healthy one, and each planted fault by its name."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from app.adapters.kafka.clients import KafkaClients
from app.core.kafka_connection import KafkaConnection
from app.embedded.broker.broker import EmbeddedBroker
from tests.conftest import JAR_CACHE, RealBroker
from tests.contracts.dns_server import NameServer
from tests.contracts.mail_kit import Postbox
from tests.contracts.mail_kit import running as mail_server
from tests.e2e.commands import Ended, hookstream
from tests.e2e.harness import Service, inbox
from tests.e2e.test_topic_drift import raised
from tests.kafka import refuse
from tests.ports import free_port
from tests.postgres import Postgres

Finding = Mapping[str, str]
_OTHER_RING = "t1:MTIzNDU2Nzg5MGFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="


async def examine(environ: dict[str, str], *roles: str) -> tuple[Ended, list[Finding]]:
    """Run the command with these settings, and with name servers that answer unless they are set."""
    async with NameServer({}) as names:
        ended = await hookstream(
            "doctor", *roles, "-o", "json", environ={"HOOKSTREAM_DNS_SERVERS": names.address} | environ, expect=None
        )
    return ended, ended.json()["findings"] if ended.out else []


def only(findings: list[Finding], check: str) -> Finding:
    """The one finding, which must be of that check."""
    assert [each["check"] for each in findings] == [check], findings
    assert findings[0]["remedy"], findings
    return findings[0]


async def no_service(bootstrap: str, prefix: str, folder: Path, **settings: str) -> Service:
    """An installation with topics, of which nothing runs."""
    service = Service(bootstrap, prefix, folder, settings)
    await service.cli("topics", "apply")
    return service


async def test_a_healthy_system_has_no_finding(shared: Service) -> None:
    async with inbox() as (_, url), mail_server(Postbox()) as port:
        added = await shared.add(url)
        mail = {"HOOKSTREAM_SMTP_URL": f"smtp://127.0.0.1:{port}", "HOOKSTREAM_MAIL_FROM": "hooks@example.com"}
        ended, findings = await examine(shared.environ | mail)
        assert (ended.code, findings) == (0, []), ended
        checks = {each["check"]: each["state"] for each in ended.json()["checks"]}
        assert checks == dict.fromkeys(
            (
                "kafka",
                "rights",
                "topics",
                "partitions",
                "clock",
                "workers",
                "keys",
                "certificates",
                "egress",
                "dns",
                "smtp",
                "database",
            ),
            "ok",
        ) | {"inputs": "skipped"}
        await shared.cli("endpoints", "remove", added["id"])


async def test_without_kafka_the_rest_is_still_examined(shared: Service) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    ended, findings = await examine(shared.environ | {"HOOKSTREAM_BOOTSTRAP_SERVERS": nobody})
    finding = only(findings, "kafka")
    assert (ended.code, nobody in finding["problem"]) == (1, True)
    assert "HOOKSTREAM_BOOTSTRAP_SERVERS" in finding["remedy"]
    states = {each["check"]: each["state"] for each in ended.json()["checks"]}
    assert states["rights"] == "skipped" and states["database"] == "ok"


async def test_silent_name_servers(shared: Service) -> None:
    _, findings = await examine(shared.environ | {"HOOKSTREAM_DNS_SERVERS": f"127.0.0.1:{free_port()}"})
    assert "HOOKSTREAM_DNS_SERVERS" in only(findings, "dns")["remedy"]


async def test_a_mail_server_that_does_not_answer(shared: Service) -> None:
    mail = {"HOOKSTREAM_SMTP_URL": f"smtp://127.0.0.1:{free_port()}", "HOOKSTREAM_MAIL_FROM": "hooks@example.com"}
    _, findings = await examine(shared.environ | mail)
    assert "HOOKSTREAM_SMTP_URL" in only(findings, "smtp")["remedy"]


async def test_a_database_that_does_not_answer(shared: Service) -> None:
    url = f"postgresql://u:hunter2@127.0.0.1:{free_port()}/d"
    ended, findings = await examine(shared.environ | {"HOOKSTREAM_DATABASE_URL": url})
    finding = only(findings, "database")
    assert "PostgreSQL" in finding["problem"] and "HOOKSTREAM_DATABASE_URL" in finding["remedy"]
    assert "hunter2" not in ended.out


async def test_a_database_without_a_schema(shared: Service, postgres: Postgres) -> None:
    _, findings = await examine(shared.environ | {"HOOKSTREAM_DATABASE_URL": await postgres.database()})
    assert "no schema" in only(findings, "database")["problem"]


async def test_a_secret_that_no_key_opens(shared: Service) -> None:
    async with inbox() as (_, url):
        added = await shared.add(url)
        _, findings = await examine(shared.environ | {"HOOKSTREAM_SECRET_KEYS": _OTHER_RING})
        finding = only(findings, "keys")
        assert added["id"] in finding["problem"] and "HOOKSTREAM_SECRET_KEYS" in finding["remedy"]
        await shared.cli("endpoints", "remove", added["id"])


async def test_receivers_that_cannot_be_reached(shared: Service) -> None:
    added = [await shared.add(f"http://127.0.0.1:{free_port()}/{number}") for number in range(2)]
    _, findings = await examine(shared.environ)
    assert only(findings, "egress")["severity"] == "error"
    _, findings = await examine(shared.environ | {"HOOKSTREAM_EGRESS_ALLOW": ""})
    assert "HOOKSTREAM_EGRESS_ALLOW" in only(findings, "egress")["remedy"]
    for each in added:
        await shared.cli("endpoints", "remove", each["id"])


async def test_a_worker_of_another_version(shared: Service) -> None:
    old = AIOKafkaConsumer(
        f"{shared.prefix}deliveries",
        bootstrap_servers=shared.bootstrap,
        group_id=f"{shared.prefix}hookstream.dispatch",
        client_id="hookstream-dispatch/0.0.9",
        enable_auto_commit=False,
        session_timeout_ms=6_000,
    )
    await old.start()
    try:
        _, findings = await examine(shared.environ)
    finally:
        await old.stop()
    finding = only(findings, "workers")
    assert "0.0.9" in finding["problem"] and "dispatch (1)" in finding["problem"]


async def test_settings_and_roles_that_do_not_exist(shared: Service) -> None:
    ended, _ = await examine(shared.environ, "dispach")
    assert ended.code == 2 and "unknown role dispach" in ended.err


async def test_findings_are_readable(shared: Service) -> None:
    environ = shared.environ | {"HOOKSTREAM_DNS_SERVERS": f"127.0.0.1:{free_port()}"}
    ended = await hookstream("doctor", "dispatch", environ=environ, expect=1)
    assert "error: The name servers" in ended.out and "→ HOOKSTREAM_DNS_SERVERS" in ended.out


async def test_roles_that_nobody_runs(broker: RealBroker, prefix: str, tmp_path: Path) -> None:
    service = await no_service(broker.bootstrap, prefix, tmp_path)
    _, findings = await examine(service.environ, "dispatch", "delay")
    assert only(findings, "workers")["remedy"] == "hookstream run dispatch delay"


async def test_a_clock_that_is_wrong(shared: Service) -> None:
    ahead = {"PYTHONPATH": f"{Path(__file__).parent / 'wrong_clock'}:{shared.environ['PYTHONPATH']}"}
    _, findings = await examine(shared.environ | ahead)
    finding = only(findings, "clock")
    assert "300.0 s ahead of the broker's" in finding["problem"] and finding["severity"] == "error"


async def test_topics_that_differ(broker: RealBroker, prefix: str, tmp_path: Path) -> None:
    service = await no_service(broker.bootstrap, prefix, tmp_path)
    async with administrator(broker.bootstrap) as admin:
        await admin.delete_topics([f"{prefix}notices"])
        settings = {"retention.ms": "1000", "message.timestamp.type": "LogAppendTime"}
        await admin.alter_configs(
            [ConfigResource(ConfigResourceType.TOPIC, f"{prefix}registry.replies", configs=settings)]
        )
    await raised(broker.bootstrap, f"{prefix}attempts", 5)  # the broker has this one last
    _, findings = await examine(service.environ, "fanout")
    by_problem = {(each["check"], each["severity"]): each for each in findings if each["check"] != "workers"}
    assert by_problem.keys() == {("topics", "error"), ("topics", "warning"), ("partitions", "error")}
    missing, configured, disagreement = (
        by_problem[key] for key in (("topics", "error"), ("topics", "warning"), ("partitions", "error"))
    )
    assert f"{prefix}notices" in missing["problem"] and missing["remedy"] == "hookstream topics apply"
    assert "retention.ms" in configured["problem"] and configured["remedy"] == "hookstream topics apply"
    assert f"{prefix}attempts has 5" in disagreement["problem"]


@pytest.fixture
async def starts_a_broker(tmp_path: Path) -> AsyncIterator[str]:
    """A broker that checks rights; everybody has those that no ACL names."""
    authorizer = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
    own = EmbeddedBroker(
        data_dir=tmp_path / "broker",
        cache_dir=JAR_CACHE,
        properties={"authorizer.class.name": authorizer, "allow.everyone.if.no.acl.found": "true"},
    )
    try:
        yield await own.start()
    finally:
        await own.stop()


async def test_missing_rights(starts_a_broker: str, prefix: str, tmp_path: Path) -> None:
    service = await no_service(starts_a_broker, prefix, tmp_path)
    roles = ("dispatch", "registry", "fanout")
    _, findings = await examine(service.environ, *roles)
    assert [each["check"] for each in findings if each["check"] == "rights"] == []
    clients = KafkaClients(KafkaConnection(bootstrap=starts_a_broker))
    await refuse(clients, "topic", f"{prefix}attempts", "write")
    await refuse(clients, "topic", f"{prefix}events.raw", "read")
    await refuse(clients, "group", f"{prefix}hookstream.dispatch", "read")
    await refuse(clients, "transactional-id", f"{prefix}hookstream.registry", "write")
    _, findings = await examine(service.environ, *roles)
    rights = [each for each in findings if each["check"] == "rights"]
    assert {each["remedy"].partition("--operation ")[2] for each in rights} == {
        f"Write --topic {prefix}attempts",
        f"Read --topic {prefix}events.raw",
        f"Read --group {prefix}hookstream.dispatch",
        f"Write --transactional-id {prefix}hookstream.registry",
    }
    (attempts,) = (each for each in rights if "attempts" in each["problem"])
    assert "which dispatch needs" in attempts["problem"]


@asynccontextmanager
async def administrator(bootstrap: str) -> AsyncIterator[Any]:
    """A client that only knows Kafka."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()
