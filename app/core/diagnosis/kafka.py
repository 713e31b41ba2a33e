"""What the answers of Kafka mean for the service."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from app.core.cluster import TopicFacts
from app.core.diagnosis.finding import DoctorFinding, Severity, listed
from app.core.rights import KafkaRight, grant_commands, named
from app.core.topics.declarations import Topics
from app.core.topics.drift import ActualTopic, ConfigureTopic, CreateTopic, TopicDrift, plan
from app.core.topics.start_check import judge, version_0_names, version_0_refusal

#: milliseconds between this machine's clock and the broker's: more is a warning, and an error
SKEW_WARNING_MS = 1_000
#: receivers refuse signatures that are five minutes old; requests take their time, too
SKEW_ERROR_MS = 60_000
_VERSION_MARK = "/"
_UNKNOWN = "an unknown version"


class BrokerFacts(Struct, frozen=True, kw_only=True):
    """One broker under the address that it advertises."""

    id: int
    address: str
    #: why it cannot be reached; None if it answers
    problem: str | None


class GroupFacts(Struct, frozen=True, kw_only=True):
    """A consumer group as its coordinator describes it."""

    role: str
    group: str
    #: Stable, Empty, Dead, PreparingRebalance …
    state: str
    #: client ids of its members
    clients: tuple[str, ...]


class ClockReading(Struct, frozen=True, kw_only=True):
    """The time that the broker has given to a record, and this machine's times before and after."""

    before_ms: float
    broker_ms: float
    after_ms: float


def worker_name(client_id: str, version: str) -> str:
    """The client id of a group's member: it carries the version, so that every member can be asked for it."""
    return f"{client_id}{_VERSION_MARK}{version}"


def version_of(client_id: str) -> str:
    """The version in a member's client id, which those of the first release lack."""
    return client_id.partition(_VERSION_MARK)[2] or _UNKNOWN


def judge_brokers(brokers: Sequence[BrokerFacts]) -> list[DoctorFinding]:
    """Brokers that do not answer under their advertised addresses."""
    return [
        DoctorFinding(
            check="kafka",
            severity="error",
            problem=f"Broker {broker.id} does not answer at {broker.address}, the address that it advertises: "
            f"{broker.problem}",
            remedy=f"Start the broker, or make {broker.address} resolvable and reachable from here; the address is "
            "`advertised.listeners` in the broker's configuration.",
        )
        for broker in brokers
        if broker.problem is not None
    ]


def judge_rights(
    denied: Iterable[KafkaRight], needed_by: Mapping[KafkaRight, Sequence[str]], user: str
) -> list[DoctorFinding]:
    """Rights that roles lack, one finding for each resource. `user`: whose rights Kafka checks."""
    rights: dict[tuple[str, str], list[KafkaRight]] = defaultdict(list)
    for right in sorted(denied):
        rights[right.resource, right.name].append(right)
    return [
        DoctorFinding(
            check="rights",
            severity="error",
            problem=f"Kafka refuses user {user} {named(each)}, which {_needing(each, needed_by)} needs.",
            remedy=" && ".join(grant_commands(user, each)),
        )
        for each in rights.values()
    ]


def _needing(rights: Sequence[KafkaRight], needed_by: Mapping[KafkaRight, Sequence[str]]) -> str:
    return listed(list(dict.fromkeys(role for right in rights for role in needed_by.get(right, ()))))


def judge_topics(topics: Topics, actual: Mapping[str, ActualTopic], hidden: frozenset[str]) -> list[DoctorFinding]:
    """Topics that are missing or differ from their declarations. `hidden`: names that Kafka does not let us see."""
    findings: list[DoctorFinding] = []
    remaining = [name for name in version_0_names(topics) if name in actual]
    if remaining:
        findings.append(_topics("error", version_0_refusal(remaining), "Follow docs/upgrading.md."))
    steps = [step for step in plan(topics, actual) if step.spec.name not in hidden]
    missing = [step.spec.name for step in steps if isinstance(step, CreateTopic)]
    if missing:
        findings.append(_topics("error", f"Missing topics: {listed(missing)}.", "hookstream topics apply"))
    judgement = judge(topics, actual)
    named = " ".join(judgement.dangers)
    findings += [
        _topics("error", danger, "hookstream topics plan", "partitions" if " partition" in danger else "topics")
        for danger in judgement.dangers
    ]
    for step in steps:
        if isinstance(step, CreateTopic) or step.spec.name in named:
            continue
        remedy = "hookstream topics apply" if isinstance(step, ConfigureTopic) else _drift_remedy(step)
        findings.append(_topics("warning", f"{step.sentence()}.", remedy))
    return findings


def judge_leaders(facts: Mapping[str, TopicFacts]) -> list[DoctorFinding]:
    """Partitions without a leader."""
    dark = [f"{name}/{number}" for name, each in sorted(facts.items()) for number in each.leaderless]
    if not dark:
        return []
    return [
        DoctorFinding(
            check="partitions",
            severity="error",
            problem=f"No broker leads {listed(dark)}: they can be neither read nor written.",
            remedy="Start the brokers that have their replicas: kafka-topics.sh --bootstrap-server … --describe "
            "--unavailable-partitions",
        )
    ]


def judge_clock(reading: ClockReading) -> list[DoctorFinding]:
    """A clock of this machine that differs from the broker's by more than the measurement can explain."""
    skew_ms = (reading.before_ms + reading.after_ms) / 2 - reading.broker_ms
    certain_ms = abs(skew_ms) - (reading.after_ms - reading.before_ms) / 2
    if certain_ms <= SKEW_WARNING_MS:
        return []
    direction = "ahead of" if skew_ms > 0 else "behind"
    return [
        DoctorFinding(
            check="clock",
            severity="error" if certain_ms > SKEW_ERROR_MS else "warning",
            problem=f"The clock of this machine is {abs(skew_ms) / 1000:.1f} s {direction} the broker's: signatures "
            "carry wrong times, and retries are early or late.",
            remedy="Synchronise both machines: `timedatectl set-ntp true`, or `chronyc makestep`.",
        )
    ]


def judge_groups(groups: Sequence[GroupFacts], version: str) -> list[DoctorFinding]:
    """Roles without a worker, and workers of other versions than `version`, that of this program."""
    empty = [each.role for each in groups if not each.clients]
    findings = [
        DoctorFinding(
            check="workers",
            severity="error",
            problem=f"No process runs {listed(empty)}.",
            remedy=f"hookstream run {' '.join(empty)}",
        )
    ] * bool(empty)
    roles_by_version: dict[str, list[str]] = defaultdict(list)
    for group in groups:
        for worker_version, count in sorted(Counter(map(version_of, group.clients)).items()):
            roles_by_version[worker_version].append(f"{group.role} ({count})")
    others = {each: roles for each, roles in roles_by_version.items() if each != version}
    findings += [
        DoctorFinding(
            check="workers",
            severity="warning",
            problem=f"Workers of {each} run beside this program's {version}: {listed(roles)}.",
            remedy="Finish the rolling upgrade or its rollback: restart these workers with the intended version "
            "(docs/upgrading.md), and run the doctor of that version.",
        )
        for each, roles in sorted(others.items())
    ]
    return findings


def _topics(severity: Severity, problem: str, remedy: str, check: str = "topics") -> DoctorFinding:
    return DoctorFinding(check=check, severity=severity, problem=problem, remedy=remedy)


def _drift_remedy(step: TopicDrift) -> str:
    if "replicas" in step.problem:
        return "HOOKSTREAM_REPLICATION_FACTOR, or kafka-reassign-partitions.sh"
    return "HOOKSTREAM_PARTITIONS, or another HOOKSTREAM_TOPIC_PREFIX"
