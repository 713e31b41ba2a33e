"""`hookstream inputs`: compare declared inputs with the cluster, and try them on records."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from app.adapters.clock import SystemClock
from app.cli.connect import process_context
from app.cli.connect.kafka_rights import require
from app.cli.terminal.inputs import bytes_of, pairs_of
from app.cli.terminal.output import OutputFormat, OutputOption, show, show_one
from app.core.errors import ConfigError, MalformedEvent, Unavailable
from app.core.exit_codes import ExitCode

if TYPE_CHECKING:
    from app.core.inputs.catalog import Inputs
    from app.core.inputs.mapping import CompiledInput, MappedEvent
    from app.core.inputs.record_values import InputRecord
    from app.core.inputs.wire_format import Decode

#: seconds for which a schema is waited for
_REGISTRY_S = 10.0

app = typer.Typer(
    no_args_is_help=True,
    help="Inputs: other systems' topics whose records become events, as the file of HOOKSTREAM_INPUTS declares them.",
)


@app.command("plan")
def plan_command(output: OutputOption = OutputFormat.table) -> None:
    """Show which topics each input reads, and how they differ from what the group of intake has read so far.

    States: `read`: the group has offsets of the topic. `new`: it has none, and reads the topic from its beginning.
    `absent`: there is no such topic, or Kafka hides it. `left`: the group has offsets of it, but no input reads it.
    Exit code 0: all topics are `read`; 2: there are others.

    Example:
        HOOKSTREAM_INPUTS=inputs.yaml hookstream inputs plan
    """
    rows, _ = process_context.run(_compare(process_context.or_fail(_inputs)))
    _show(rows, output)
    raise typer.Exit(ExitCode.DONE if all(row["state"] == "read" for row in rows) else ExitCode.USAGE)


@app.command("apply")
def apply_command(output: OutputOption = OutputFormat.table) -> None:
    """Check the file and the topics that it names, and say what puts it into force. Changes nothing.

    The file itself is the configuration: processes with the role intake read it when they start. Topics that a group
    has not read so far are read from their beginning; `hookstream groups reset intake` chooses another place.

    Example:
        HOOKSTREAM_INPUTS=inputs.yaml hookstream inputs apply
    """
    rows, members = process_context.run(_compare(process_context.or_fail(_inputs)))
    absent = [row for row in rows if row["state"] == "absent"]
    if absent:
        problems = [f"input {row['input']}: {row['topic']} does not exist, or Kafka hides it" for row in absent]
        process_context.fail(ConfigError(problems))
    if output is OutputFormat.json:
        show_one({"topics": rows, "restart": list(members)}, output)
        return
    _show(rows, output)
    if members:
        print(f"The file is valid. Restart the processes with the role intake: {', '.join(members)}.")
    else:
        print("The file is valid. Start a process with the role intake: `hookstream run intake`.")


@app.command("test")
def test_command(
    name: Annotated[str, typer.Argument(metavar="INPUT", help="Name of the input.")],
    value: Annotated[
        str | None,
        typer.Option(help="File with a record's value (- = stdin). Default: the newest record of the input's topics."),
    ] = None,
    key: Annotated[str | None, typer.Option(help="The record's key, with --value.")] = None,
    header: Annotated[list[str] | None, typer.Option(help="A header NAME=VALUE of the record, with --value.")] = None,
    topic: Annotated[str | None, typer.Option(help="Topic of the record. Default: the input's first one.")] = None,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Run one record through an input, and show the event or the reason why it becomes none. Appends nothing.

    Exit code 0: an event, or a record that is skipped on purpose; 1: a rejected record.

    Examples:
        hookstream inputs test orders
        hookstream inputs test orders --value record.json --key 42 --header id=7c9e6679
    """
    inputs = process_context.or_fail(_inputs)
    chosen = process_context.or_fail(lambda: inputs.named(name))
    if value is not None:
        record = _record_of(chosen, bytes_of(value), key, pairs_of("--header", header or [], "="), topic)
    elif key is not None or header:
        raise typer.BadParameter("--key and --header go with --value")
    else:
        record = process_context.run(_newest(inputs, chosen, topic))
    outcome = _outcome(chosen, record, process_context.run(_decoders(chosen, record)))
    show_one(outcome, output)
    raise typer.Exit(ExitCode.FAILED if outcome["result"] == "rejected" else ExitCode.DONE)


def _inputs() -> Inputs:
    """Raises `ConfigError`."""
    from app.runtime.inputs import inputs_of
    from app.runtime.topics import topics_of

    settings = process_context.settings()
    if settings.inputs is None:
        raise ConfigError(["HOOKSTREAM_INPUTS is not set: name the file that declares the inputs"])
    return inputs_of(settings, topics_of(settings))


async def _compare(inputs: Inputs) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """A row for each topic, and the members of the group."""
    from app.adapters.kafka.groups import KafkaGroups
    from app.adapters.kafka.input_topics import existing_input_topics
    from app.runtime.group_names import group_of

    clients, group = process_context.clients(), group_of(process_context.settings(), "intake")
    await require(clients, shows=inputs.topics(), shows_groups=[group])
    there = await existing_input_topics(clients, inputs)
    async with KafkaGroups.opened(clients) as groups:
        standing = await groups.standing(group, list(there))
        committed = await groups.committed_topics(group)
    rows = []
    for topic, partitions in there.items():
        reader = inputs.of(topic)
        behind = sum(each.lag for each in standing.partitions if each.topic == topic)
        state = "read" if topic in committed else "new"
        rows.append(_row(reader.name if reader else "", topic, state, partitions, behind))
    rows += [
        _row(each.name, topic, "absent")
        for each in inputs.compiled
        for topic in each.declared.topics
        if topic not in there
    ]
    rows += [
        _row(each.name, each.declared.pattern, "absent")
        for each in inputs.compiled
        if each.declared.pattern is not None and not any(inputs.of(topic) is each for topic in there)
    ]
    rows += [_row("", topic, "left") for topic in sorted(committed - there.keys())]
    return sorted(rows, key=lambda row: (row["input"], row["topic"])), standing.members


def _row(name: str, topic: str, state: str, partitions: int | None = None, behind: int | None = None) -> dict[str, Any]:
    return {"input": name, "topic": topic, "state": state, "partitions": partitions, "behind": behind}


def _show(rows: list[dict[str, Any]], output: OutputFormat) -> None:
    show(rows, ("input", "topic", "state", "partitions", "behind"), output, "The file declares no inputs.")


def _record_of(
    chosen: CompiledInput, value: bytes, key: str | None, headers: dict[str, str], topic: str | None
) -> InputRecord:
    from app.core.inputs.record_values import InputRecord

    topics = chosen.declared.topics
    if topic is None and not topics:
        raise typer.BadParameter(f"--topic: {chosen.name} has a pattern; name a topic that it matches")
    name = topic or topics[0]
    _check_topic(chosen, name)
    return InputRecord(
        topic=name,
        partition=0,
        offset=0,
        timestamp=SystemClock().now_ms(),
        key=key.encode() if key is not None else None,
        value=value,
        headers=[(header, text.encode()) for header, text in headers.items()],
    )


def _check_topic(chosen: CompiledInput, topic: str) -> None:
    if not chosen.reads(topic):
        raise typer.BadParameter(f"--topic: {chosen.name} does not read {topic}")


async def _newest(inputs: Inputs, chosen: CompiledInput, topic: str | None) -> InputRecord:
    from app.adapters.kafka.input_topics import existing_input_topics
    from app.adapters.kafka.scan import last_record
    from app.core.inputs.record_values import InputRecord

    clients = process_context.clients()
    if topic is not None:
        _check_topic(chosen, topic)
    there = await existing_input_topics(clients, inputs)
    topics = [each for each in there if (inputs.of(each) is chosen if topic is None else each == topic)]
    await require(clients, reads=topics)
    record = await last_record(clients, topics) if topics else None
    if record is None:
        what = f"have no records: {', '.join(topics)}" if topics else "do not exist, or Kafka hides them"
        raise ConfigError([f"the topics of {chosen.name} {what}. Give a record with --value"])
    return InputRecord(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        timestamp=record.timestamp,
        key=record.key,
        value=record.value,
        headers=record.headers,
    )


async def _decoders(chosen: CompiledInput, record: InputRecord) -> Mapping[int, Decode]:
    """Decoders for the schemas that a record names. Raises `Unavailable` when the registry does not answer."""
    numbers = chosen.schemas([record])
    if not numbers:
        return {}
    from app.runtime.build.intake import schema_registry

    registry = schema_registry(process_context.settings(), SystemClock())
    assert registry is not None  # otherwise the settings were refused
    try:
        async with asyncio.timeout(_REGISTRY_S):
            return await registry.decoders(numbers)
    except TimeoutError as error:
        raise Unavailable(registry.trouble() or "the schema registry does not answer") from error
    finally:
        await registry.close()


def _outcome(chosen: CompiledInput, record: InputRecord, decoders: Mapping[int, Decode]) -> dict[str, Any]:
    from app.core.inputs.mapping import SkippedRecord

    place = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
    try:
        mapped = chosen.event_of(record, decoders)
    except MalformedEvent as error:
        return {"result": "rejected", "reason": error.reason, "detail": error.detail, **place}
    if isinstance(mapped, SkippedRecord):
        return {"result": "skipped", "reason": mapped.why, **place}
    return {"result": "event", **_shown(mapped), **place}


def _shown(mapped: MappedEvent) -> dict[str, Any]:
    from app.core.records.raw_event import data_of

    event = mapped.event
    return {
        "id": event.id,
        "type": event.type,
        "tenant": event.tenant,
        "mode": event.mode,
        "created_at": event.created_at,
        "ordering_key": event.ordering_key,
        "idempotency_key": event.idempotency_key,
        "key": mapped.key.decode(),
        "data": msgspec.json.decode(data_of(event.body, event.format)),
    }
