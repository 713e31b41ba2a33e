"""A role without one of its rights is named in the log, by /readyz and by the doctor, and works again with it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import aiohttp
import pytest

from tests.conftest import JAR_CACHE, apart
from tests.contracts.dns_server import NameServer
from tests.e2e.commands import hookstream
from tests.e2e.harness import Service, inbox, pause
from tests.patience import PATIENCE_S
from tests.secure_broker import Acl, SecureBroker, printed_acls

PREFIX = "acme."
CLI = "hookstream-cli"


class Case(NamedTuple):
    """A right that is taken from the user of some roles, and the role that needs it."""

    role: str
    resource: str
    name: str
    operation: str

    @property
    def right(self) -> str:
        return f"{self.operation} on {self.resource} {self.name}"

    def acl(self, user: str) -> Acl:
        return Acl(user, self.resource, self.name, self.operation)

    def grant(self, user: str) -> str:
        where = "--cluster" if self.resource == "cluster" else f"--{self.resource} {self.name}"
        return f"--add --allow-principal User:{user} --operation {self.operation} {where}"


def topic(role: str, operation: str, name: str) -> Case:
    return Case(role, "topic", PREFIX + name, operation)


#: user → its roles in one process, and what it lacks
STARTS: dict[str, tuple[Sequence[str], Sequence[Case]]] = {
    "first": (
        ("delay", "dispatch", "registry"),
        (
            topic("delay", "Write", "deliveries"),
            topic("dispatch", "Write", "attempts"),
            Case("registry", "transactional-id", f"{PREFIX}hookstream.registry", "Write"),
        ),
    ),
    "second": (
        ("fanout", "notifier", "health"),
        (
            topic("fanout", "Read", "events.raw"),
            topic("notifier", "Read", "notices"),
            Case("health", "group", f"{PREFIX}hookstream.health", "Read"),
        ),
    ),
    "third": (
        ("projection",),
        (
            topic("projection", "Describe", "notices"),
            Case("projection", "cluster", "kafka-cluster", "IdempotentWrite"),
        ),
    ),
}


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureBroker]:
    """A broker with the topics, and users without rights."""
    broker = SecureBroker(tmp_path_factory.mktemp("broker"), JAR_CACHE)
    try:
        apart(broker.own.start())
        apart(prepare(broker, tmp_path_factory.mktemp("cli")))
        yield broker
    finally:
        apart(broker.own.stop())


async def prepare(broker: SecureBroker, folder: Path) -> None:
    await broker.add_users({user: f"secret of {user}" for user in (*STARTS, "running", CLI)})
    cli = process_of(broker, CLI, folder)
    everything = printed_acls(await cli.cli("topics", "export", "--format", "acls"))
    await broker.allow(acl for acl in everything if acl.principal == CLI)
    await cli.cli("topics", "apply")


def process_of(broker: SecureBroker, user: str, folder: Path, *roles: str) -> Service:
    """A process of some roles; without roles: for commands."""
    settings = {
        "HOOKSTREAM_KAFKA_SECURITY": "sasl_ssl",
        "HOOKSTREAM_KAFKA_CA_FILE": str(broker.authority.ca_file),
        "HOOKSTREAM_KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
        "HOOKSTREAM_KAFKA_USERNAME": user,
        "HOOKSTREAM_KAFKA_PASSWORD": f"secret of {user}",
        "HOOKSTREAM_PARTITIONS": "2",
    }
    return Service(broker.address("sasl_ssl"), PREFIX, folder, settings, roles)


async def needed(service: Service, user: str, roles: Sequence[str]) -> set[Acl]:
    """What the command prints for the user's roles."""
    printed = printed_acls(await service.cli("topics", "export", "--format", "acls", "--user", "{role}"))
    return {acl._replace(principal=user) for acl in printed if acl.principal in roles}


class Started:
    """A running process, and the files that it writes."""

    def __init__(self, service: Service, log: Path) -> None:
        self.service = service
        self._log = log

    def log(self) -> str:
        return self._log.read_text("utf-8")

    def lines(self, event: str) -> list[dict[str, str]]:
        found = [json.loads(line) for line in self.log().splitlines() if f'"event":"{event}"' in line]
        return [each for each in found if each["event"] == event]

    def tracebacks(self) -> list[str]:
        """Of errors that a missing right has caused."""
        return [line for line in self.log().splitlines() if "Traceback" in line and "AuthorizationFailed" in line]

    async def reasons(self) -> dict[str, str]:
        """What /readyz says; empty before it answers."""
        try:
            _, reasons = await self.service.readiness()
        except aiohttp.ClientError:
            return {}
        return reasons

    async def until(self, role: str, right: str) -> str:
        """Wait until /readyz says that a role lacks a right; the sentence."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while f" {right}" not in (sentence := (await self.reasons()).get(role, "")):
                    assert self.service.alive, self.log()
                    await pause(0.1)
        except TimeoutError:
            pytest.fail(f"{role} does not say that it lacks {right}: {await self.reasons()}\n{self.log()}")
        return sentence


@asynccontextmanager
async def started(service: Service, folder: Path) -> AsyncIterator[Started]:
    file = folder / "log"
    with file.open("wb") as output:
        service.output = output
        await service.spawn()
        try:
            yield Started(service, file)
        finally:
            await service.stop()


async def test_each_right_that_is_missing_at_the_start(secured: SecureBroker, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        running: dict[str, Started] = {}
        for user, (roles, cases) in STARTS.items():
            folder = tmp_path / user
            folder.mkdir()
            service = process_of(secured, user, folder, *roles)
            lacks = {case.acl(user) for case in cases}
            hidden = {acl.name for acl in lacks if acl.operation == "Describe"}
            rights = await needed(service, user, roles)
            assert lacks <= rights
            await secured.allow(acl for acl in rights - lacks if acl.name not in hidden)
            running[user] = await stack.enter_async_context(started(service, folder))
        for user, (roles, cases) in STARTS.items():
            for case in cases:
                await named_by_the_process(user, case, running[user])
            await named_by_the_doctor(user, roles, cases, running[user].service)
        for user, (roles, _) in STARTS.items():
            await secured.allow(await needed(running[user].service, user, roles))
        for user, each in running.items():
            await each.service.until_ready()
            assert {line["role"] for line in each.lines("rights.complete")} == {case.role for case in STARTS[user][1]}
            assert each.tracebacks() == []


async def named_by_the_process(user: str, case: Case, process: Started) -> None:
    sentence = await process.until(case.role, case.operation)
    assert f"Kafka refuses user {user} " in sentence and f" on {case.resource} {case.name}" in sentence
    assert f"which the role {case.role} needs" in sentence and "kafka-acls.sh" in sentence
    logged = [line["problem"] for line in process.lines("rights.missing") if line["role"] == case.role]
    assert len(logged) == 1 and sentence.partition(". Grant:")[0].partition(" and ")[0] in logged[0]


async def named_by_the_doctor(user: str, roles: Sequence[str], cases: Sequence[Case], service: Service) -> None:
    async with NameServer({}) as names:
        environ = service.environ | {"HOOKSTREAM_DNS_SERVERS": names.address}
        ended = await hookstream("doctor", *roles, "-o", "json", environ=environ, expect=1)
    findings = [each for each in ended.json()["findings"] if each["check"] == "rights"]
    assert len(findings) == len(cases), findings
    for case in cases:
        place = f" on {case.resource} {case.name}, which {case.role} needs"
        (finding,) = (each for each in findings if place in each["problem"])
        assert case.operation in finding["problem"] and f"User:{user}" in finding["remedy"]


async def test_rights_that_are_revoked_and_granted_again(secured: SecureBroker, tmp_path: Path) -> None:
    roles = ("fanout", "dispatch", "delay", "registry")
    cases = [
        Case("fanout", "group", f"{PREFIX}hookstream.fanout", "Read"),
        topic("dispatch", "Read", "deliveries"),
        topic("delay", "Write", "deliveries.delay.1s"),
        Case("registry", "group", f"{PREFIX}hookstream.registry", "Read"),
    ]
    user = "running"
    service = process_of(secured, user, tmp_path, *roles)
    await secured.allow(await needed(service, user, roles))
    cli = process_of(secured, CLI, tmp_path)
    async with started(service, tmp_path) as process, inbox("status:500*1,200") as (box, url):
        await service.until_ready()
        await cli.add(f"{url}/standard", schedule="0,1")
        lost = [case.acl(user) for case in cases]
        await secured.withdraw(lost)
        for case in cases:
            sentence = await process.until(case.role, case.right)
            assert case.grant(user) in sentence
        status, _ = await service.readiness()
        assert status == 503
        assert await cli.cli("events", "send", "-", stdin=b'{"type": "order.paid", "id": "one", "data": {}}')
        await secured.allow(lost)
        await service.until_ready()
        await box.until(lambda: [each.status for each in box.received] == [500, 200])
        problems = [line["problem"] for line in process.lines("rights.missing")]
        assert len(problems) == len(set(problems)), problems
        assert process.tracebacks() == []
