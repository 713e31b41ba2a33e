"""The container's contract: what the chart renders runs as processes, answers its probes, and ends when told to.

Where the machine allows it, each process has another user, no rights, and can write to its volumes alone.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex

import pytest

from app.adapters.kafka.admin import KafkaAdmin
from app.core.topics.declarations import TopicSpec
from app.core.topics.drift import CreateTopic
from app.runtime.roles import EVERYWHERE
from tests.conftest import JAR_CACHE, RealBroker, apart
from tests.helm.chart import Rendered, render
from tests.helm.containers import PROBES, Namespace, live_and_end
from tests.helm.sandbox import available, contained
from tests.postgres import Postgres
from tests.secure_broker import Acl, SecureBroker

SECRET = {
    "secret-keys": "t1:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
    "admin-token": "op_0123456789abcdef0123456789",
    "smtp-url": "smtp://127.0.0.1:9",
}
#: a broker that runs alone
SMALL = ("kafka.replicationFactor=1", "kafka.partitions=4", "autoscaling.kind=none")


def test_a_container_has_no_rights_and_can_write_to_its_volumes_alone(tmp_path: Path) -> None:
    if not available() and "CI" not in os.environ:
        pytest.skip("this machine does not let its user make namespaces")
    volume, other = tmp_path / "volume", tmp_path / "other"
    volume.mkdir()
    script = f"id -u; grep -c 'Cap[IPEBA].*:.0*$' /proc/self/status; touch {volume}/a; touch {other} && echo written"
    done = subprocess.run(contained([volume], ["sh", "-c", script]), capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["10001", "5"] and "Read-only file system" in done.stderr
    assert [path.name for path in tmp_path.rglob("*")] == ["volume", "a"]


def test_every_role_of_the_production_example_runs(broker: RealBroker, postgres: Postgres, tmp_path: Path) -> None:
    rendered = render(
        *("production", f"kafka.topicPrefix=h{token_hex(3)}.", *SMALL),
        *("kafka.security=plaintext", "kafka.ca.secret=", "kafka.client.secret="),
    )
    secrets = {"hookstream": SECRET | {"database-url": apart(postgres.database())}}
    namespace = Namespace(rendered, tmp_path, secrets, broker.bootstrap)
    namespace.hook("topics")
    namespace.hook("migration")
    assert set(namespace.containers) == set(EVERYWHERE)
    live_and_end(namespace, "api")


def test_the_one_process_of_the_dev_example_runs(broker: RealBroker, tmp_path: Path) -> None:
    rendered = render("dev", f"kafka.topicPrefix=h{token_hex(3)}.")
    namespace = Namespace(rendered, tmp_path, {}, broker.bootstrap)
    namespace.hook("topics")
    live_and_end(namespace, "all")
    written = tmp_path / "all" / "var" / "lib" / "hookstream" / "data"
    assert written.is_dir() and json.dumps(sorted(path.name for path in written.iterdir())) != "[]"


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[SecureBroker]:
    """A broker with SASL over TLS, on which nobody has a right yet."""
    broker = SecureBroker(tmp_path / "broker", JAR_CACHE)
    try:
        apart(broker.own.start())
        yield broker
    finally:
        apart(broker.own.stop())


async def operated(rendered: Rendered, broker: SecureBroker) -> dict[str, dict[str, str]]:
    """Do what Strimzi's operators do: create the topics and the users; returns the users' Secrets."""
    specs = [each["spec"] for each in rendered.of_kind("KafkaTopic").values()]
    topics = [
        TopicSpec(
            logical=spec["topicName"],
            name=spec["topicName"],
            partitions=spec["partitions"],
            replication=spec["replicas"],
            config=spec["config"],
        )
        for spec in specs
    ]
    async with KafkaAdmin(broker.superuser()) as admin:
        await admin.apply([CreateTopic(each) for each in topics])
    users = rendered.of_kind("KafkaUser")
    assert all(each["spec"]["authentication"] == {"type": "scram-sha-512"} for each in users.values())
    passwords = {user: token_hex(16) for user in users}
    await broker.add_users(passwords)
    types = {"transactionalId": "transactional-id"}
    await broker.allow(
        Acl(user, types.get(kind["type"], kind["type"]), kind.get("name", "kafka-cluster"), operation)
        for user, each in users.items()
        for rule in each["spec"]["authorization"]["acls"]
        for kind in (rule["resource"],)
        for operation in rule["operations"]
    )
    return {user: {"password": password} for user, password in passwords.items()}


def test_the_locked_down_example_runs_with_the_users_and_rights_that_it_asks_for(
    secured: SecureBroker, postgres: Postgres, tmp_path: Path
) -> None:
    """One role of each kind: with tables, sending, with the database, serving; and the one that answers the API."""
    rendered = render("locked-down", *SMALL)
    secrets = apart(operated(rendered, secured)) | {
        "hookstream": SECRET | {"database-url": apart(postgres.database())},
        "kafka-ca": {"ca.crt": secured.authority.ca_file.read_text(encoding="utf-8")},
    }
    namespace = Namespace(rendered, tmp_path / "pods", secrets, secured.address("sasl_ssl"))
    assert set(namespace.containers) == set(EVERYWHERE)
    namespace.only("fanout", "dispatch", "projection", "registry", "api")
    live_and_end(namespace, "api")


@pytest.mark.parametrize("name", PROBES)
def test_a_probe_asks_a_port_that_the_container_names(name: str) -> None:
    for component, pod in render("production").pods().items():
        if component in EVERYWHERE:
            (container,) = pod["spec"]["containers"]
            assert container[name]["httpGet"]["port"] in {each["name"] for each in container["ports"]}
