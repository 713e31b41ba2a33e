"""`hookstream events`: append events to `events.raw`, as a producer would, or through the API."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import orjson
import typer

from app.adapters.clock import SystemClock
from app.cli.commands.endpoints import check_reach
from app.cli.connect import completion, event_batches, process_context
from app.cli.connect.api_connection import api_or_kafka, ask, uses_api
from app.cli.connect.api_target import ApiTarget
from app.cli.terminal.output import OutputFormat, OutputOption, show
from app.core.errors import MalformedEvent
from app.core.records.raw_event import Coordinates, decode_event
from app.core.topics.names import TopicName

app = typer.Typer(no_args_is_help=True, help="Append events, and see which were not delivered.")


@app.command("send")
@uses_api
def send(
    file: Annotated[str, typer.Argument(help="JSON file: one event, an array, or one event per line; - = stdin.")],
    tenant: Annotated[
        str | None, typer.Option(help="Tenant of events without one (over Kafka only; an API key implies its tenant).")
    ] = None,
    mode: Annotated[
        str | None,
        typer.Option(
            help="Mode of events without one: live or test (over Kafka only; an API key implies its mode).",
            autocompletion=completion.modes,
        ),
    ] = None,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Append events to events.raw, wait for the broker's acknowledgement, and print the ids of the events.

    An event is {"type": "a.b", "data": …} with optional id, created_at, tenant, mode, idempotency_key, ordering_key,
    channels, subject, deliver_at, expires_at.

    Through the API up to 1,000 go in one request, and tenant and mode are the key's: events must not name them. When
    a request fails, the ids of the events accepted before it are printed.

    Examples:
        echo '{"type": "user.created", "data": {}}' | hookstream events send -
        hookstream events send events.ndjson --tenant acme --mode test
    """
    address = api_or_kafka()
    if address is not None:
        _post(address, file, tenant, mode, output)
        return
    events = [_with_defaults(event, tenant, mode) for event in _read(file)]
    show(
        process_context.run(_append(events)),
        ("id", "type", "tenant"),
        output,
        "No events in the file.",
        ("topic", "partition", "offset"),
    )


def _post(address: ApiTarget, file: str, tenant: str | None, mode: str | None, output: OutputFormat) -> None:
    process_context.or_fail(lambda: check_reach(address, tenant, mode))
    events = process_context.or_fail(lambda: event_batches.read(file))
    accepted, error = ask(address, lambda api: event_batches.send(api, events))
    if accepted or output is OutputFormat.json:
        show(accepted, ("id",), output, "")
    elif error is None:
        print("No events in the file.")
    if error is not None:
        process_context.fail(error)


async def _append(events: list[bytes]) -> list[dict[str, Any]]:
    from app.adapters.kafka.producer import KafkaProducer
    from app.cli.connect.kafka_rights import require
    from app.runtime.topics import topics_of

    settings = process_context.settings()
    topic = topics_of(settings).name(TopicName.EVENTS_RAW)
    clients = process_context.clients()
    await require(clients, writes=[topic])
    log = KafkaProducer(clients, client_id="hookstream-cli")
    await log.start([topic])
    try:
        sent = []
        for body in events:
            event = decode_event(
                body, (), Coordinates(topic, 0, 0, SystemClock().now_ms()), max_bytes=settings.max_event_bytes
            )
            key = (event.ordering_key or event.tenant).encode()
            sent.append((body, log.partition_for(topic, key), await log.append(topic, key=key, value=body)))
        return [appended(body, topic, partition, await offset) for body, partition, offset in sent]
    finally:
        await log.close()


def appended(body: bytes, topic: str, partition: int, offset: int) -> dict[str, Any]:
    """The row of an appended event. Its id is the producer's, or the one that fan-out derives from the coordinates."""
    event = decode_event(body, (), Coordinates(topic, partition, offset, SystemClock().now_ms()), max_bytes=1 << 40)
    return {
        "id": event.id,
        "type": event.type,
        "tenant": event.tenant,
        "topic": topic,
        "partition": partition,
        "offset": offset,
    }


def _read(file: str) -> list[Any]:
    events = process_context.or_fail(lambda: event_batches.read(file))
    return [_decoded(number, event) for number, event in enumerate(events, 1)]


def _decoded(number: int, event: bytes) -> Any:
    try:
        return msgspec.json.decode(event)
    except ValueError as error:  # an array is cut into events without a look at its text's encoding
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
        decode_event(body, (), Coordinates("", 0, 0, SystemClock().now_ms()), max_bytes=1 << 40)
    except MalformedEvent as error:
        raise typer.BadParameter(f"not an event ({error.reason}): {error.detail}") from error
    return body
