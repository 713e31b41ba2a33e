"""`hookstream events`: append events to `events.raw`, as a producer would."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import orjson
import typer

from app.adapters.kafka_log import KafkaLog
from app.cli import context
from app.cli.output import Format, Output, show
from app.core.errors import MalformedEvent
from app.core.ingest import Coordinates, understand
from app.core.topics import Names
from app.wiring.topics import topics_of

app = typer.Typer(no_args_is_help=True, help="Append events.")


@app.command("send")
def send(
    file: Annotated[str, typer.Argument(help="JSON file: one event, an array, or one event per line; - = stdin.")],
    tenant: Annotated[str | None, typer.Option(help="For events that name no tenant.")] = None,
    mode: Annotated[str | None, typer.Option(help="For events that name no mode: live or test.")] = None,
    output: Output = Format.table,
) -> None:
    """Append events to events.raw and wait for the broker's acknowledgement.

    An event is {"type": "a.b", "data": …} with optional id, created_at, tenant, mode, idempotency_key, ordering_key.
    """
    events = [_with_defaults(event, tenant, mode) for event in _read(file)]
    show(
        context.run(_append(events)),
        ("type", "tenant", "topic", "partition", "offset"),
        output,
        "No events in the file.",
    )


async def _append(events: list[bytes]) -> list[dict[str, Any]]:
    settings = context.settings()
    topic = topics_of(settings).name(Names.EVENTS_RAW)
    log = KafkaLog(context.bootstrap(), client_id="hookstream-cli")
    await log.start([topic])
    try:
        sent = []
        for body in events:
            event = understand(body, (), Coordinates(topic, 0, 0, 0), max_bytes=settings.max_event_bytes)
            key = (event.ordering_key or event.tenant).encode()
            sent.append((event, log.partition_for(topic, key), await log.append(topic, key=key, value=body)))
        return [
            {"type": event.type, "tenant": event.tenant, "topic": topic, "partition": partition, "offset": await offset}
            for event, partition, offset in sent
        ]
    finally:
        await log.close()


def _read(file: str) -> list[Any]:
    text = sys.stdin.buffer.read() if file == "-" else _bytes(Path(file))
    if not text.strip():
        return []
    try:
        whole = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return [_line(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    return whole if isinstance(whole, list) else [whole]


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"{path}: {error.strerror}") from error


def _line(number: int, line: bytes) -> Any:
    try:
        return msgspec.json.decode(line)
    except msgspec.DecodeError as error:
        raise typer.BadParameter(f"line {number} is not JSON: {error}") from error


def _with_defaults(event: Any, tenant: str | None, mode: str | None) -> bytes:
    if not isinstance(event, dict):
        raise typer.BadParameter('an event is an object such as {"type": "user.created", "data": {}}')
    if tenant:
        event.setdefault("tenant", tenant)
    if mode:
        event.setdefault("mode", mode)
    body = orjson.dumps(event)
    try:
        understand(body, (), Coordinates("", 0, 0, 0), max_bytes=1 << 40)
    except MalformedEvent as error:
        raise typer.BadParameter(f"not an event ({error.reason}): {error.detail}") from error
    return body
