"""`hookstream tail`: events, deliveries and attempts as they happen, over Kafka."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.adapters.clock import SystemClock
from app.cli.connect import completion, process_context
from app.cli.terminal.output import OutputFormat, OutputOption
from app.core.model.event_types import is_pattern
from app.core.model.timestamps import moment
from app.core.topics.names import TopicName

if TYPE_CHECKING:
    from app.cli.terminal.tail_rows import TailFilter

app = typer.Typer(
    no_args_is_help=True,
    help="Follow events, deliveries and attempts as they are appended to Kafka. Ctrl-C ends it.\n\n"
    "It reads the topics themselves, so it also works while the API or its database does not. One line for each "
    "record; with -o json one JSON object.",
)

TailTenantOption = Annotated[str | None, typer.Option("--tenant", metavar="T", help="Only this tenant.")]
TailModeOption = Annotated[str | None, typer.Option("--mode", help="live or test.", autocompletion=completion.modes)]
TailTypeOption = Annotated[
    str | None, typer.Option("--type", help="Only this event type: a.b, a.*", autocompletion=completion.event_types)
]
TailEndpointOption = Annotated[
    str | None, typer.Option("--endpoint", metavar="ID", help="Only this endpoint (its id; records have no uid).")
]
TailEventOption = Annotated[str | None, typer.Option("--event", metavar="ID", help="Only this event.")]
TailSinceOption = Annotated[
    str | None,
    typer.Option("--since", metavar="TIME", help="Begin there: 90s, 30m, 12h ago, or ISO 8601. Default: now."),
]
TailLimitOption = Annotated[int | None, typer.Option("--limit", "-n", min=1, help="End after so many lines.")]
FollowOption = Annotated[
    bool, typer.Option("--follow/--no-follow", help="Wait for further records, or end at the present end.")
]

Read = Callable[[Any], "dict[str, Any] | None"]


@app.command("events")
def events(
    tenant: TailTenantOption = None,
    mode: TailModeOption = None,
    type_: TailTypeOption = None,
    event: TailEventOption = None,
    since: TailSinceOption = None,
    limit: TailLimitOption = None,
    follow: FollowOption = True,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Follow the events of events.raw, before anything is decided about them.

    Examples:
        hookstream tail events --tenant acme --type 'user.*'
        hookstream tail events --since 10m --no-follow -o json
    """
    from app.cli.terminal.tail_rows import TailFilter, event_row
    from app.runtime.topics import topics_of

    settings = process_context.or_fail(process_context.settings)
    name = topics_of(settings).name(TopicName.EVENTS_RAW)
    wanted = TailFilter(tenant=tenant, mode=mode, type=type_, event=event)
    _tail(name, wanted, lambda each: event_row(each, name, settings.max_event_bytes), since, limit, follow, output)


@app.command("deliveries")
def deliveries(
    tenant: TailTenantOption = None,
    mode: TailModeOption = None,
    type_: TailTypeOption = None,
    endpoint: TailEndpointOption = None,
    event: TailEventOption = None,
    since: TailSinceOption = None,
    limit: TailLimitOption = None,
    follow: FollowOption = True,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Follow the deliveries that dispatch is about to attempt, retries included.

    Example:
        hookstream tail deliveries --endpoint ep_5f0c83a1d27e49b6a3c81f04
    """
    from app.cli.terminal.tail_rows import TailFilter, delivery_row

    wanted = TailFilter(tenant=tenant, mode=mode, type=type_, endpoint=endpoint, event=event)
    _tail(_name(TopicName.DELIVERIES), wanted, delivery_row, since, limit, follow, output)


@app.command("attempts")
def attempts(
    tenant: TailTenantOption = None,
    mode: TailModeOption = None,
    type_: TailTypeOption = None,
    endpoint: TailEndpointOption = None,
    event: TailEventOption = None,
    state: Annotated[
        str | None, typer.Option(metavar="WORD", help="The delivery's state: delivered, retrying, dead, cancelled.")
    ] = None,
    result: Annotated[
        str | None, typer.Option(metavar="WORD", help="A status, its class or an outcome: 503, 5xx, timeout, dns …")
    ] = None,
    since: TailSinceOption = None,
    limit: TailLimitOption = None,
    follow: FollowOption = True,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Follow the attempts: each request with its outcome, and each delivery that ends without one.

    Examples:
        hookstream tail attempts --state dead
        hookstream tail attempts --result 5xx --endpoint ep_5f0c83a1d27e49b6a3c81f04
    """
    from app.cli.terminal.tail_rows import TailFilter, attempt_row

    wanted = TailFilter(
        tenant=tenant, mode=mode, type=type_, endpoint=endpoint, event=event, state=state, result=result
    )
    _tail(_name(TopicName.ATTEMPTS), wanted, attempt_row, since, limit, follow, output)


def _name(topic: str) -> str:
    from app.runtime.topics import topics_of

    return topics_of(process_context.or_fail(process_context.settings)).name(topic)


def _tail(
    topic: str,
    wanted: TailFilter,
    read: Read,
    since: str | None,
    limit: int | None,
    follow: bool,
    output: OutputFormat,
) -> None:
    if wanted.type is not None and not is_pattern(wanted.type):
        raise typer.BadParameter("--type: an event type such as user.created, `*`, or a prefix such as user.*")
    try:
        since_ms = moment(since, SystemClock().now_ms()) if since is not None else None
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(f"--since {error}") from error
    if since_ms is None and not follow:
        raise typer.BadParameter("--no-follow needs --since: there is nothing after the present end")

    async def work() -> int:
        import orjson

        from app.adapters.kafka.follow import follow as followed
        from app.cli.connect.kafka_rights import require
        from app.cli.terminal.tail_rows import line

        shown = 0
        clients = process_context.clients()
        await require(clients, reads=[topic])
        records = followed(clients, topic, since_ms=since_ms, until_end=not follow)
        async with aclosing(records):
            async for record in records:
                row = read(record)
                if row is None or not wanted.passes(row):
                    continue
                print(orjson.dumps(row).decode() if output is OutputFormat.json else line(row), flush=True)
                shown += 1
                if shown == limit:
                    break
        return 0

    def safely() -> int:
        try:
            return process_context.run(work())
        except BrokenPipeError:  # such as `| head`
            sys.stderr.close()
            return 0

    process_context.guarded(safely)
