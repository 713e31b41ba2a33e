"""`hookstream restore`: a backup into an empty registry."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli.connect import process_context
from app.cli.terminal.output import OutputFormat, OutputOption, show_one
from app.core.errors import CommandRefused, ConfigError
from app.core.topics.names import TopicName


def restore(
    file: Annotated[Path, typer.Argument(help="A file that `hookstream backup` has written.")],
    output: OutputOption = OutputFormat.table,
) -> None:
    """Write a backup into the registry of this HOOKSTREAM_TOPIC_PREFIX, which must be empty.

    Create the topics first (`hookstream topics apply`), and start the roles afterwards, with the key ring that sealed
    the secrets. It is refused while a process runs the role registry. Needs that role's rights on Kafka.

    Example:
        hookstream restore registry-2026-11-27.backup
    """

    def work() -> int:
        from app.core import registry_backup

        try:
            with file.open("rb") as opened:
                records = registry_backup.decode(opened)
        except OSError as error:
            raise ConfigError([f"{file} cannot be read: {error.strerror}"]) from error
        topic = process_context.run(_restore(records))
        show_one({"topic": topic, "records": len(records)}, output)
        return 0

    process_context.guarded(work)


async def _restore(records: dict[bytes, bytes]) -> str:
    from app.adapters.kafka.probe import KafkaProbe
    from app.adapters.kafka.registry_restore import write_registry
    from app.adapters.kafka.scan import latest
    from app.cli.connect.kafka_rights import require
    from app.runtime.group_names import group_of
    from app.runtime.topics import topics_of

    settings, clients = process_context.settings(), process_context.clients()
    topic, group = topics_of(settings).name(TopicName.REGISTRY), group_of(settings, "registry")
    await require(clients, reads=[topic], writes=[topic], shows_groups=[group], transactional_ids=[group])
    async with KafkaProbe(clients) as probe:
        if not await probe.topics([topic]):
            raise ConfigError(
                [
                    f"topic {topic} does not exist (run `hookstream topics apply`), or user {clients.user} has no "
                    "right Describe on it"
                ]
            )
        (writers,) = await probe.groups({"registry": group})
    if writers.clients:
        raise CommandRefused("running", f"{len(writers.clients)} processes run the role registry: stop them first")
    existing = await latest(clients, topic, 0)
    if existing:
        raise CommandRefused(
            "not_empty", f"{topic} has {len(existing)} entries: restore into another HOOKSTREAM_TOPIC_PREFIX"
        )
    await write_registry(clients, topic, records, transactional_id=group)
    return topic
