"""The topics of this installation: topics/*.yaml with the settings' names and counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
import yaml

from app.core.errors import ConfigError, Unavailable
from app.core.topics.declarations import Topics, load
from app.core.topics.start_check import judge, version_0_names, version_0_refusal
from app.data import TOPICS
from app.settings import Settings

if TYPE_CHECKING:
    from app.adapters.kafka.clients import KafkaClients

logger = structlog.get_logger(__name__)


async def check(clients: KafkaClients, topics: Topics) -> None:
    """Refuse topics on which a guarantee cannot hold, and log what else differs.

    Raises `ConfigError` with the remedies, and `Unavailable`.
    """
    from app.adapters.kafka.admin import KafkaAdmin  # most who read the declarations do not talk to Kafka

    async with KafkaAdmin(clients) as admin:
        try:
            remaining = await admin.existing(version_0_names(topics))
            actual = await admin.actual(topics)
        except Unavailable as error:
            if getattr(error.__cause__, "retriable", False):
                raise
            logger.warning("topics.unchecked", reason=repr(error.__cause__))  # for example: no right to see settings
            return
    if remaining:
        raise ConfigError([version_0_refusal(remaining)])
    judged = judge(topics, actual)
    for sentence in judged.harmless:
        logger.warning("topics.drift", problem=sentence)
    if judged.dangers:
        raise ConfigError(judged.dangers)


def topics_of(settings: Settings) -> Topics:
    """All topics by logical name. Raises `ConfigError` with all problems of the files."""
    try:
        documents = {path.name: yaml.safe_load(path.read_text("utf-8")) for path in sorted(TOPICS.glob("*.yaml"))}
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError([f"the topic declarations in {TOPICS} cannot be read: {error}"]) from error
    return load(
        documents,
        prefix=settings.topic_prefix,
        partitions=settings.partitions,
        replication_factor=settings.replication_factor,
        max_event_bytes=settings.max_event_bytes,
    )
