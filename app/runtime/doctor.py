"""`hookstream doctor`: makes all checks of a running system, each within a bounded time."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from importlib.metadata import version
from typing import Any

from app.adapters.http.dns import NameResolver
from app.adapters.http.reachability import connections
from app.adapters.kafka.clients import KafkaClients
from app.adapters.kafka.directory_feed import KafkaDirectoryFeed
from app.adapters.kafka.input_topics import existing_input_topics
from app.adapters.kafka.probe import KafkaProbe, roles_without
from app.adapters.mail.smtp import SmtpMailer
from app.adapters.secrets.keyring import AesKeyRing
from app.adapters.sql.database import Database
from app.adapters.sql.migrate import is_usable, revision
from app.core.diagnosis.finding import Check, DoctorFinding, Examination, sorted_findings
from app.core.diagnosis.kafka import (
    judge_brokers,
    judge_clock,
    judge_groups,
    judge_leaders,
    judge_rights,
    judge_topics,
)
from app.core.diagnosis.surroundings import (
    judge_certificates,
    judge_egress,
    judge_inputs,
    judge_mail,
    judge_names,
    judge_schema,
    judge_secrets,
    sampled_urls,
)
from app.core.directory import Directory
from app.core.email import read_smtp_url
from app.core.errors import HookstreamError, Unavailable
from app.core.inputs.catalog import Inputs
from app.core.rights import KafkaRight
from app.core.topics.declarations import Topics
from app.core.topics.names import TopicName
from app.ports.clock import Clock
from app.runtime.build.intake import schema_registry
from app.runtime.build.shared import egress_policy, egress_proxy
from app.runtime.group_names import group_of
from app.runtime.inputs import inputs_of
from app.runtime.rights import rights_of
from app.runtime.roles import GROUPS, ROLES, require_roles
from app.runtime.topics import topics_of
from app.settings import Settings

#: seconds for one check
CHECK_S = 20.0
_SKIPPED_WITHOUT_KAFKA = (
    "rights",
    "topics",
    "partitions",
    "clock",
    "workers",
    "keys",
    "certificates",
    "inputs",
    "egress",
)
#: check → the setting that it depends on, for a check that could not be made
_SETTINGS = {
    "kafka": "HOOKSTREAM_BOOTSTRAP_SERVERS",
    "keys": "HOOKSTREAM_SECRET_KEYS",
    "database": "HOOKSTREAM_DATABASE_URL, or start the database",
}
_USES_DATABASE = ("projection", "api")

CheckOutcome = tuple[str, list[DoctorFinding]]


class Doctor:
    """Examines what the chosen roles need."""

    def __init__(
        self,
        settings: Settings,
        clients: KafkaClients,
        keyring: Callable[[], AesKeyRing],
        roles: Sequence[str],
        clock: Clock,
    ) -> None:
        """`keyring` raises `ConfigError` when there is no ring. Raises `ConfigError` for unknown roles."""
        require_roles(roles, settings)
        self._settings = settings
        self._clients = clients
        self._probe = KafkaProbe(clients)
        self._keyring = keyring
        self._roles = tuple(roles)
        self._clock = clock
        self._topics = topics_of(settings)
        self._inputs = inputs_of(settings, self._topics)
        self._resolver = NameResolver(settings.dns_servers)
        self._checks: list[Check] = []
        self._findings: list[DoctorFinding] = []
        self._denied: set[KafkaRight] = set()
        self._directory = Directory()

    async def examine(self) -> Examination:
        """Make all checks; those that need Kafka are skipped without it."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._resolver.close)
            if await self._make("kafka", self._kafka(stack)):
                await self._make("rights", self._rights())
                await asyncio.gather(
                    self._make("topics", self._compare_topics()),
                    self._make("partitions", self._leaders()),
                    self._make("clock", self._measure_clock()),
                    self._make("workers", self._workers()),
                    self._make("keys", self._keys()),
                    self._make("inputs", self._input_topics()),
                )
                await self._make("egress", self._egress())
            else:
                self._skip(_SKIPPED_WITHOUT_KAFKA, "Kafka does not answer")
            await asyncio.gather(
                self._make("dns", self._dns()),
                self._make("smtp", self._smtp()),
                self._make("database", self._database()),
            )
        return Examination(checks=tuple(self._checks), findings=sorted_findings(self._findings))

    async def _make(self, name: str, check: Coroutine[Any, Any, CheckOutcome | str]) -> bool:
        """Run one check within `CHECK_S`; whether it could be made. A check that returns a text was skipped."""
        try:
            async with asyncio.timeout(CHECK_S):
                outcome = await check
        except TimeoutError:
            problem = f"The check did not end within {CHECK_S:g} s."
            outcome = problem, [_unmade(name, problem, _SETTINGS.get(name, "Repeat it."))]
        except HookstreamError as error:
            problem, _, remedy = str(error).partition("\n")
            advice = remedy or _SETTINGS.get(name, "Repair what the other findings name first.")
            outcome = problem, [_unmade(name, problem, advice)]
        else:
            if isinstance(outcome, str):
                self._skip((name,), outcome)
            else:
                self._note(name, outcome)
            return True
        self._note(name, outcome)
        return False

    def _note(self, name: str, outcome: CheckOutcome) -> None:
        detail, findings = outcome
        self._checks.append(Check(check=name, state="findings" if findings else "ok", detail=detail))
        self._findings += findings

    def _skip(self, names: Sequence[str], reason: str) -> None:
        self._checks += [Check(check=name, state="skipped", detail=reason) for name in names]

    async def _kafka(self, stack: AsyncExitStack) -> CheckOutcome:
        """Connect; the connection serves all checks, until `stack` is closed."""
        await stack.enter_async_context(self._probe)
        brokers = await self._probe.brokers()
        return f"{len(brokers)} brokers at {self._clients.connection.bootstrap}", judge_brokers(brokers)

    async def _rights(self) -> CheckOutcome:
        needed = _needed_rights(self._topics, self._settings, self._inputs, self._roles)
        self._denied = await self._probe.refused(needed.keys())
        return f"{len(needed)} rights of {len(self._roles)} roles", judge_rights(
            self._denied, needed, self._clients.user
        )

    async def _compare_topics(self) -> CheckOutcome:
        hidden = {right.name for right in self._denied if right.resource == "topic"}
        if any(right.operation == "DescribeConfigs" for right in self._denied):
            raise Unavailable("Topics cannot be compared without the right DescribeConfigs.\nSee the finding `rights`.")
        actual = await self._probe.actual(self._topics)
        names = self._topics.all_names()
        return f"{len(names)} topics", judge_topics(self._topics, actual, frozenset(hidden - actual.keys()))

    async def _leaders(self) -> CheckOutcome:
        facts = await self._probe.topics(self._topics.all_names())
        return f"{sum(each.partitions for each in facts.values())} partitions", judge_leaders(facts)

    async def _measure_clock(self) -> CheckOutcome | str:
        topic = self._topics.name(TopicName.REGISTRY_REPLIES)
        if await self._probe.refused([KafkaRight(resource="topic", name=topic, operation="Write")]):
            return f"needs the right Write on {topic}, which the command line has"
        if not await self._probe.topics([topic]):
            return f"needs the topic {topic}"
        reading = await self._probe.clock(topic, self._clock)
        return "the time of a record against this machine's clock", judge_clock(reading)

    async def _workers(self) -> CheckOutcome:
        groups = {name: group_of(self._settings, name) for name in self._roles if name in GROUPS or ROLES[name].elects}
        visible = roles_without(self._denied, groups)
        facts = await self._probe.groups(visible)
        workers = sum(len(each.clients) for each in facts)
        return f"{workers} members of {len(facts)} groups", judge_groups(facts, version("hookstream"))

    async def _keys(self) -> CheckOutcome | str:
        topic = self._topics.name(TopicName.REGISTRY)
        if not await self._probe.topics([topic]):
            return f"needs the topic {topic}"
        feed = KafkaDirectoryFeed(self._clients, topic, client_id="hookstream-doctor", directory=self._directory)
        try:
            await feed.start(CHECK_S)
        finally:
            await feed.stop()
        endpoints, now_ms = self._directory.endpoints(), self._clock.now_ms()
        expiring = judge_certificates(endpoints, now_ms)
        certified = sum(each.auth_expires_at_ms is not None for each in endpoints)
        self._note("certificates", (f"client certificates of {certified} endpoints", expiring))
        ring = self._keyring()
        return f"secrets of {len(endpoints)} endpoints", judge_secrets(endpoints, ring.open, now_ms)

    async def _input_topics(self) -> CheckOutcome | str:
        if self._settings.inputs is None:
            return "HOOKSTREAM_INPUTS is not set"
        there = await existing_input_topics(self._clients, self._inputs)
        findings = judge_inputs(self._inputs.unmatched(there), await self._registry_problem())
        return f"{len(there)} topics of {len(self._inputs.compiled)} inputs", findings

    async def _registry_problem(self) -> str | None:
        """Why the schema registry cannot be used; None if it can, or if no input needs it."""
        registry = schema_registry(self._settings, self._clock) if self._inputs.needing_schemas() else None
        if registry is None:
            return None
        try:
            await registry.probe()
        except Unavailable as error:
            return str(error)
        finally:
            await registry.close()
        return None

    async def _egress(self) -> CheckOutcome | str:
        if "dispatch" not in self._roles:
            return "only dispatch sends requests"
        urls = sampled_urls(self._directory.endpoints())
        if not urls:
            return "there is no active endpoint"
        results = await connections(urls, egress_policy(self._settings), self._resolver, egress_proxy(self._settings))
        return f"connections to {len(urls)} receivers", judge_egress(results)

    async def _dns(self) -> CheckOutcome:
        servers = self._settings.dns_servers
        return "the name servers", judge_names(await self._resolver.answers(), servers)

    async def _smtp(self) -> CheckOutcome | str:
        url, sender = self._settings.smtp_url, self._settings.mail_from
        if url is None or sender is None:
            return "HOOKSTREAM_SMTP_URL is not set"
        if "notifier" not in self._roles:
            return "only the notifier sends e-mail"
        server = read_smtp_url(url.reveal())
        mailer = SmtpMailer(server, sender, self._clock, self._settings.ca_file)
        return "connection and login", judge_mail(f"{server.host}:{server.port}", await mailer.problem())

    async def _database(self) -> CheckOutcome | str:
        if not set(_USES_DATABASE) & set(self._roles):
            return "only projection and api use it"
        url = self._settings.database_url
        database = Database(url.reveal() if url else None, self._settings.data_dir, connections=1)
        try:
            there, wanted = await revision(database)
        finally:
            await database.close()
        return database.name, judge_schema(there, wanted, is_usable(there, wanted))


def _needed_rights(
    topics: Topics, settings: Settings, inputs: Inputs, roles: Sequence[str]
) -> dict[KafkaRight, list[str]]:
    """Each right, and the roles that need it."""
    needed: dict[KafkaRight, list[str]] = defaultdict(list)
    table = rights_of(topics, settings.topic_prefix, inputs)
    for role in roles:
        for right in table[role].single_rights():
            needed[right].append(role)
    return needed


def _unmade(check: str, problem: str, remedy: str) -> DoctorFinding:
    return DoctorFinding(check=check, severity="error", problem=problem, remedy=remedy)
