"""`hookstream ordering`: show the key queues of ordered endpoints, and unblock them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import typer

from app.cli.connect import process_context
from app.cli.connect.kafka_rights import require
from app.cli.terminal.output import OutputFormat, OutputOption, show, show_one
from app.core.records import audit
from app.core.records.ordered import instruction
from app.core.topics.names import TopicName
from app.roles.sequencer.key_queue import KeyQueue

app = typer.Typer(
    no_args_is_help=True,
    help="Key queues of endpoints with `ordering: fifo`: one for each ordering key. A delivery that has used up its "
    "schedule blocks its line, unless the endpoint says on_exhausted: skip. Over Kafka.",
)
EndpointArgument = Annotated[str, typer.Argument(help="The endpoint's id (ep_…) or uid.")]
KeyArgument = Annotated[str, typer.Argument(help="The ordering key.")]


@app.command("show")
def show_(
    endpoint_id: EndpointArgument,
    blocked: Annotated[
        bool, typer.Option("--blocked", help="Only key queues that are blocked by a dead delivery.")
    ] = False,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Show an endpoint's key queues that are not idle: those in flight, blocked or stopped, and how many wait.

    Example:
        hookstream ordering show ep_5f0c83a1d27e49b6a3c81f04 --blocked
    """

    from app.adapters.kafka.producer import KafkaProducer
    from app.adapters.kafka.scan import latest
    from app.runtime.topics import topics_of

    async def work() -> list[dict[str, Any]]:
        clients, topics = process_context.clients(), topics_of(process_context.settings())
        ordered, queues = topics.name(TopicName.DELIVERIES_ORDERED), topics.name(TopicName.SEQUENCER_QUEUES)
        await require(clients, shows=[ordered], reads=[queues])
        name = await _id_of(endpoint_id)
        log = KafkaProducer(clients, client_id="hookstream-cli")
        await log.start([ordered])
        partition = log.partition_for(ordered, name.encode())
        await log.close()
        values = await latest(clients, queues, partition)
        lines = [_shown(queue, value) for queue, value in sorted(values.items()) if _is_of(queue, name)]
        return [line for line in lines if line["state"] == "blocked" or (not blocked and line["state"] != "at rest")]

    columns = ("ordering_key", "state", "waiting")
    empty = f"No key queue of this endpoint {'is blocked' if blocked else 'has deliveries'}."
    show(process_context.run(work()), columns, output, empty)


@app.command("skip")
def skip(endpoint_id: EndpointArgument, ordering_key: KeyArgument, output: OutputOption = OutputFormat.table) -> None:
    """Skip the dead delivery that blocks a key queue; it stays in deliveries.dead.

    Example:
        hookstream ordering skip ep_5f0c83a1d27e49b6a3c81f04 customer-42
    """
    show_one(process_context.run(_order("skip", endpoint_id, ordering_key)), output)


@app.command("drop")
def drop(endpoint_id: EndpointArgument, ordering_key: KeyArgument, output: OutputOption = OutputFormat.table) -> None:
    """Give up all deliveries of a key queue. They go to deliveries.dead with the reason `ordering_dropped`.

    Example:
        hookstream ordering drop ep_5f0c83a1d27e49b6a3c81f04 customer-42
    """
    show_one(process_context.run(_order("drop", endpoint_id, ordering_key)), output)


async def _order(wanted: Literal["skip", "drop"], endpoint_id: str, ordering_key: str) -> dict[str, Any]:
    from app.adapters.kafka.producer import KafkaProducer
    from app.cli.connect.registry_session import session
    from app.runtime.topics import topics_of

    async with session() as registry:
        endpoint = registry.endpoint(endpoint_id)
    topics, now_ms = topics_of(process_context.settings()), registry.clock.now_ms()
    ordered, audited = topics.name(TopicName.DELIVERIES_ORDERED), topics.name(TopicName.AUDIT)
    entry = audit.action(
        endpoint.tenant,
        endpoint.mode,
        now_ms,
        actor="cli",
        action=f"ordering.{wanted}",
        entity=f"endpoint/{endpoint.id}",
        detail=f"ordering key {ordering_key}",
    )
    clients = process_context.clients()
    await require(clients, writes=[ordered, audited])
    log = KafkaProducer(clients, client_id="hookstream-cli")
    await log.start([ordered, audited])
    try:
        await (await log.append(audited, key=endpoint.tenant.encode(), value=audit.encode(entry)))
        headers = instruction(wanted, ordering_key)
        await (await log.append(ordered, key=endpoint.id.encode(), value=None, headers=headers))
    finally:
        await log.close()
    return {"endpoint": endpoint.id, "ordering_key": ordering_key, "ordered": wanted}


async def _id_of(endpoint: str) -> str:
    """The id of an endpoint that is named by its id or uid; removed endpoints have key queues, too."""
    from app.cli.connect.registry_session import session

    if endpoint.startswith("ep_"):
        return endpoint
    async with session() as registry:
        return registry.endpoint(endpoint).id


def _is_of(name: bytes, endpoint_id: str) -> bool:
    return name.startswith(endpoint_id.encode() + b"\n")


def _shown(name: bytes, value: bytes) -> dict[str, Any]:
    line = msgspec.msgpack.decode(value, type=KeyQueue)
    state = "blocked" if line.blocked >= 0 else "under way" if line.in_flight >= 0 else "at rest"
    if state == "at rest" and line.waiting:
        state = "stopped"
    return {
        "ordering_key": name.partition(b"\n")[2].decode("utf-8", "replace"),
        "state": state,
        "waiting": len(line.waiting),
    }
