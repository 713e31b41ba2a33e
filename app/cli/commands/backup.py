"""`hookstream backup`: the registry in one file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from app.adapters.clock import SystemClock
from app.cli.connect import process_context
from app.cli.terminal.output import OutputFormat, OutputOption, show_one
from app.core.errors import ConfigError
from app.core.model.timestamps import iso
from app.core.topics.names import TopicName


def backup(
    file: Annotated[Path, typer.Argument(help="The file to create, with mode 0600. It must not exist.")],
    output: OutputOption = OutputFormat.table,
) -> None:
    """Write the registry (endpoints, tenants, keys, event types, replays) to one file, over Kafka.

    Signing secrets stay sealed: keep HOOKSTREAM_SECRET_KEYS apart from the file, and as safe. API keys are hashes.

    Example:
        hookstream backup registry-2026-11-27.backup
    """

    def work() -> int:
        from app.core import registry_backup
        from app.runtime.topics import topics_of

        topic = topics_of(process_context.settings()).name(TopicName.REGISTRY)
        records = process_context.run(_records(topic))
        try:
            handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise ConfigError([f"{file} cannot be created: {error.strerror}"]) from error
        with os.fdopen(handle, "wb") as opened:
            opened.writelines(registry_backup.encode(records, topic, iso(SystemClock().now_ms())))
            opened.flush()
            os.fsync(opened.fileno())
        show_one({"file": str(file), "records": len(records), "bytes": file.stat().st_size}, output)
        return 0

    process_context.guarded(work)


async def _records(topic: str) -> dict[bytes, bytes]:
    from app.adapters.kafka.scan import latest
    from app.cli.connect.kafka_rights import require

    clients = process_context.clients()
    await require(clients, reads=[topic])
    return await latest(clients, topic, 0)
