"""`hookstream events rejected` and `duplicates`: the records that fan-out dropped, and why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from app.adapters.clock import SystemClock
from app.cli.connect import process_context
from app.cli.terminal.output import OutputFormat, OutputOption, show
from app.core.errors import Defect
from app.core.model.timestamps import iso, moment
from app.core.readmodel.event_index import RawEventFormat, index_row
from app.core.records import duplicate
from app.core.topics.names import TopicName
from app.ports.consumer import Record

app = typer.Typer()

DroppedSinceOption = Annotated[
    str, typer.Option(help="Start of the range: 90s, 30m, 12h, 7d ago, or ISO 8601 with a time zone.")
]
LimitOption = Annotated[int, typer.Option(min=1, max=100_000, help="Maximum number of entries, newest first.")]


@app.command("rejected")
def rejected(
    tenant: Annotated[str | None, typer.Option(help="Only records whose header or body names this tenant.")] = None,
    since: DroppedSinceOption = "1d",
    limit: LimitOption = 100,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Show records that could not be parsed as events, with the reason (from events.rejected, over Kafka).

    They were in events.raw, or in a topic that an input reads.

    Example:
        hookstream events rejected --since 2h
    """
    from app.runtime.topics import topics_of

    events = process_context.or_fail(lambda: topics_of(process_context.settings())).name(TopicName.EVENTS_RAW)

    def shown(record: Record) -> dict[str, Any] | None:
        named = {name: text.decode("utf-8", "replace") for name, text in record.headers if text is not None}
        owner = tenant_of(record) if named.get("rejected-topic", events) == events else None
        if tenant is not None and owner != tenant:
            return None
        timestamp = named.get("rejected-timestamp", "")
        return {
            "reason": named.get("rejected-reason"),
            "detail": named.get("rejected-detail"),
            "tenant": owner,
            "topic": named.get("rejected-topic"),
            "partition": _number(named.get("rejected-partition")),
            "offset": _number(named.get("rejected-offset")),
            "appended_at": iso(int(timestamp)) if timestamp.isdigit() else None,
        }

    columns = ("appended_at", "tenant", "reason", "detail")
    rows = process_context.run(_rows(TopicName.EVENTS_REJECTED, since, limit, shown))
    show(rows, columns, output, "No record was rejected in that time.", ("topic", "partition", "offset"))


@app.command("duplicates")
def duplicates(
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's records.")] = None,
    since: DroppedSinceOption = "1d",
    limit: LimitOption = 100,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Show events that were dropped as duplicates of an idempotency key (from events.duplicates, over Kafka).

    The dropped record and the one it repeats are in events.raw, at the partitions and offsets shown.

    Example:
        hookstream events duplicates --tenant acme
    """

    def shown(record: Record) -> dict[str, Any] | None:
        notice = duplicate.read(record.headers)
        if tenant is not None and notice.tenant != tenant:
            return None
        return {
            "tenant": notice.tenant,
            "mode": notice.mode,
            "idempotency_key": notice.idempotency_key,
            "event_id": notice.event_id,
            "topic": notice.topic,
            "partition": notice.partition,
            "offset": notice.offset,
            "appended_at": iso(notice.timestamp_ms),
            "first_partition": notice.first_partition,
            "first_offset": notice.first_offset,
            "first_appended_at": iso(notice.first_timestamp_ms),
        }

    columns = ("appended_at", "tenant", "event_id", "idempotency_key")
    wide = ("mode", "partition", "offset", "first_partition", "first_offset", "first_appended_at")
    rows = process_context.run(_rows(TopicName.EVENTS_DUPLICATES, since, limit, shown))
    once = {
        (row["partition"], row["offset"]): row for row in rows
    }  # fan-out repeats a notice when it reads the record again
    show(list(once.values()), columns, output, "No event was dropped in that time.", wide)


async def _rows(
    topic: str, since: str, limit: int, shown: Callable[[Record], dict[str, Any] | None]
) -> list[dict[str, Any]]:
    from app.adapters.kafka.scan import newest
    from app.cli.connect.kafka_rights import require
    from app.runtime.topics import topics_of

    since_ms = since_of(since, SystemClock().now_ms())
    name = topics_of(process_context.settings()).name(topic)
    clients = process_context.clients()
    await require(clients, reads=[name])
    return await newest(clients, name, since_ms=since_ms, limit=limit, wanted=shown)


def since_of(text: str, now_ms: int) -> int:
    """Milliseconds since the epoch. Raises `typer.BadParameter`."""
    try:
        return moment(text, now_ms)
    except ValueError as error:
        raise typer.BadParameter(f"--since {error}") from error


def tenant_of(record: Record) -> str | None:
    """The tenant of a rejected record, from its header or else its value; None if neither is readable."""
    try:
        return index_row(TopicName.EVENTS_REJECTED, record, RawEventFormat()).tenant or None
    except (Defect, ValueError):
        return None


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None
