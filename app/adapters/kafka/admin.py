"""Describe, create and configure topics."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any

from aiokafka.admin import NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    InvalidReplicationFactorError,
    KafkaError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    for_code,
)

from app.adapters.kafka.clients import AioAdmin, KafkaClients
from app.core.errors import AccessDenied, ConfigError, Unavailable
from app.core.rights import KafkaRight, command_refusal
from app.core.topics.declarations import Topics
from app.core.topics.drift import ActualTopic, ConfigureTopic, CreateTopic, TopicStep

#: source of a setting in DescribeConfigs: set on the topic itself, not inherited from the broker
_DYNAMIC_TOPIC = 1
#: topics that a message names when many have the same problem
_NAMED = 3
#: how often the creation of topics is repeated while all brokers are fenced, and seconds between two tries
_FENCED_TRIES = 40
_FENCED_S = 0.5


class KafkaAdmin:
    """An administrator's connection; use as an async context manager."""

    def __init__(self, clients: KafkaClients) -> None:
        self._clients = clients
        self._client = clients.admin("hookstream-admin")

    async def __aenter__(self) -> KafkaAdmin:
        try:
            async with self._clients.connecting():
                await self._client.start()
        except BaseException:
            await self._client.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.close()

    async def brokers(self) -> int:
        """How many brokers the cluster has."""
        with self._clients.reachable():
            return len((await self._client.describe_cluster())["brokers"])

    async def existing(self, names: Sequence[str]) -> list[str]:
        """Those of `names` that are topics of the cluster."""
        with self._clients.reachable():
            there = set(await self._client.list_topics())
        return [name for name in names if name in there]

    async def actual(self, topics: Topics) -> dict[str, ActualTopic]:
        """The actual partitions, replication and settings of those `topics` that exist."""
        with self._clients.reachable():
            return await actual_topics(self._client, topics)

    async def apply(self, steps: Sequence[TopicStep]) -> list[str]:
        """Carry out the steps that create or configure topics. Returns a sentence for each.

        Raises `AccessDenied` where a right is missing, and `ConfigError` when Kafka refuses a step otherwise.
        """
        done = []
        with self._clients.reachable():
            creates = [step for step in steps if isinstance(step, CreateTopic)]
            if creates:
                await self._create(creates)
                done += [step.sentence() for step in creates]
            for step in steps:
                if isinstance(step, ConfigureTopic):
                    await self._configure(step)
                    done.append(step.sentence())
        return done

    async def _create(self, steps: Sequence[CreateTopic]) -> None:
        fresh = [
            NewTopic(step.spec.name, step.spec.partitions, step.spec.replication, topic_configs=step.spec.config)
            for step in steps
        ]
        answer = await self._client.create_topics(fresh, timeout_ms=30_000)
        for _ in range(_FENCED_TRIES):
            if not fenced(answer.topic_errors):
                break
            await asyncio.sleep(_FENCED_S)
            answer = await self._client.create_topics(fresh, timeout_ms=30_000)
        self._check_allowed((name, code, "Create") for name, code, *_ in answer.topic_errors)
        problems = not_created(answer.topic_errors)
        if problems:
            raise ConfigError(problems)
        await self._until_led({step.spec.name for step in steps})

    async def _until_led(self, names: set[str]) -> None:
        led: set[str] = set()
        for _ in range(150):
            described = await self._client.describe_topics(sorted(names))
            led = {
                each["topic"]
                for each in described
                if each["error_code"] == 0
                and each["partitions"]
                and all(partition["leader"] >= 0 for partition in each["partitions"])
            }
            if led == names:
                return
            await asyncio.sleep(0.1)
        raise Unavailable(f"topics without a leader after 15 s: {', '.join(sorted(names - led))}")

    async def _configure(self, step: ConfigureTopic) -> None:
        """AlterConfigs replaces all settings of the topic, so merge with those that are already set."""
        _, own = (await _configs(self._client, [step.spec.name]))[step.spec.name]
        resource = ConfigResource(ConfigResourceType.TOPIC, step.spec.name, configs=own | step.spec.config)
        answer = await self._client.alter_configs([resource])
        for response in answer:
            for error in response.resources:
                self._check_allowed([(step.spec.name, error[0], "AlterConfigs")])
                if error[0] != 0:
                    raise ConfigError([f"Kafka refused the settings of {step.spec.name}: {error[1]}"])

    def _check_allowed(self, answers: Iterable[tuple[str, int, str]]) -> None:
        """Raise `AccessDenied` for missing rights; an answer is a topic, an error code and the operation."""
        denied = [
            KafkaRight(resource="topic", name=name, operation=operation)
            for name, code, operation in answers
            if for_code(code) in (TopicAuthorizationFailedError, ClusterAuthorizationFailedError)
        ]
        if denied:
            raise AccessDenied(command_refusal(self._clients.user, denied))


async def actual_topics(client: AioAdmin, topics: Topics) -> dict[str, ActualTopic]:
    """The actual partitions, replication and settings of those `topics` that exist. Raises `KafkaError`."""
    there = set(await client.list_topics())
    names = [name for name in topics.all_names() if name in there]
    if not names:
        return {}
    described = await client.describe_topics(names)
    configs = await _configs(client, names)
    return {
        each["topic"]: ActualTopic(
            partitions=len(each["partitions"]),
            replication=min(len(partition["replicas"]) for partition in each["partitions"]),
            config=configs[each["topic"]][0],
        )
        for each in described
    }


async def _configs(client: AioAdmin, names: Sequence[str]) -> dict[str, tuple[dict[str, str], dict[str, str]]]:
    """For each topic: the effective settings, and those that are set on the topic itself."""
    answers = await client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in names])
    configs: dict[str, tuple[dict[str, str], dict[str, str]]] = {}
    for answer in answers:
        for resource in answer.resources:
            error, text, _, name, entries = resource[:5]
            if error:
                raise KafkaError(f"{name}: {text}")
            effective = {entry[0]: entry[1] or "" for entry in entries}
            own = {entry[0]: entry[1] or "" for entry in entries if entry[3] == _DYNAMIC_TOPIC}
            configs[name] = (effective, own)
    return configs


def fenced(errors: Iterable[Sequence[Any]]) -> bool:
    """Whether topics were not created because no broker is in service: it has just started, or was suspended."""
    return any("brokers are currently fenced" in str(text[0]) for _, code, *text in errors if code and text)


def not_created(errors: Iterable[Sequence[Any]]) -> list[str]:
    """A sentence for each reason for which Kafka did not create topics. An error is a topic, a code and a text."""
    topics: dict[str, list[str]] = {}
    for name, code, *text in errors:
        kind = for_code(code)
        if code == 0 or kind is TopicAlreadyExistsError:
            continue
        reason = str(text[0]).rstrip(".") if text and text[0] else kind.__name__
        if kind is InvalidReplicationFactorError:
            reason += ". Set HOOKSTREAM_REPLICATION_FACTOR to the number of brokers at most"
        topics.setdefault(reason, []).append(name)
    return [f"Kafka did not create {_listed(names)}: {reason}." for reason, names in topics.items()]


def _listed(names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"the topic {names[0]}"
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{len(names)} topics ({', '.join(names[:_NAMED])}{more})"
