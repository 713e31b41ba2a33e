"""`hookstream readmodel`: show the lag of the read model, check it and rebuild it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.connect import process_context
from app.cli.terminal.output import OutputFormat, OutputOption, show, show_json, show_one
from app.core.exit_codes import ExitCode
from app.core.model.timestamps import iso

if TYPE_CHECKING:
    from app.adapters.sql.checking import Difference

app = typer.Typer(
    no_args_is_help=True,
    help="The read model: deliveries and attempts in SQL, made from Kafka by the role projection. It can be deleted at "
    "any time. HOOKSTREAM_DATABASE_URL names a PostgreSQL; without it, it is SQLite in HOOKSTREAM_DATA_DIR.",
)


@app.command("status")
def status(output: OutputOption = OutputFormat.table) -> None:
    """Show the database and how many records it lags behind. Exits with 1 if this program cannot use its schema.

    Example:
        hookstream readmodel status
    """
    state, usable = process_context.run(_status())
    if output is OutputFormat.json:
        show_one(state, output)
    else:
        show_one({name: value for name, value in state.items() if name != "topics"}, output)
        show(state["topics"], ("topic", "partitions", "read", "behind"), output, "")
    raise typer.Exit(ExitCode.DONE if usable else ExitCode.FAILED)


async def _status() -> tuple[dict[str, Any], bool]:
    from app.adapters.sql import migrate
    from app.core.readmodel.batch import TOPICS
    from app.runtime.build.projection import database_of, extents, read_store
    from app.runtime.topics import topics_of

    settings = process_context.settings()
    database = database_of(settings)
    store = read_store(settings)
    try:
        there, ours = await migrate.revision(database)
        state: dict[str, Any] = {"database": database.name, "schema": there, "program_schema": ours, "topics": []}
        usable = migrate.is_usable(there, ours)
        if usable:
            newest = await store.updated_at_ms()
            state["newest_record_at"] = iso(newest) if newest else None
            lags = await extents(process_context.clients(), topics_of(settings), store)
            for topic in TOPICS:
                its = [each for each in lags if each.topic == topic]
                state["topics"].append(
                    {
                        "topic": topic,
                        "partitions": len(its),
                        "behind": sum(each.behind for each in its),
                        "read": sum(max(0, each.next - each.begin) for each in its),
                    }
                )
        return state, usable
    finally:
        await store.close()
        await database.close()


@app.command("upgrade")
def upgrade(output: OutputOption = OutputFormat.table) -> None:
    """Migrate the schema to this version. The role projection does the same when it starts.

    Example:
        hookstream readmodel upgrade
    """

    from app.adapters.sql import migrate
    from app.runtime.build.projection import database_of

    async def work() -> str:
        database = database_of(process_context.settings())
        try:
            return await migrate.upgrade(database)
        finally:
            await database.close()

    schema = process_context.run(work())
    if output is OutputFormat.json:
        show_json({"schema": schema})
    else:
        print(f"The schema is {schema}.")


@app.command("rebuild")
def rebuild(output: OutputOption = OutputFormat.table) -> None:
    """Empty the read model and rebuild it from Kafka. Lists are incomplete until it is done; services may run on.

    Ctrl-C ends the waiting: a running role projection goes on with it.

    Example:
        hookstream readmodel rebuild
    """
    from app.runtime.readmodel_rebuild import ReadModelRebuild
    from app.runtime.topics import topics_of

    settings = process_context.settings()
    with _bar("records") as on_progress:
        work = ReadModelRebuild(
            settings,
            process_context.or_fail(process_context.clients),
            process_context.or_fail(lambda: topics_of(settings)),
        )
        read = process_context.run(work.run(on_progress))
    if output is OutputFormat.json:
        show_json({"records": read})
    else:
        print(f"Read {read} records again.")


@app.command("check")
def check(
    repair: Annotated[
        bool, typer.Option("--repair", help="Correct differences; the role projection waits meanwhile.")
    ] = False,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Count all hours again from the attempts in the read model. Exit code 1: counters differ, and were not repaired.

    Services may go on. Hours that retention has cut, or that were counted before this command existed, are left out.

    Example:
        hookstream readmodel check --repair
    """
    from app.runtime.build.projection import count_again

    with _bar("rows") as on_progress:
        seen = process_context.run(count_again(process_context.settings(), repair=repair, on_progress=on_progress))
    summary = {
        "compared_from": iso(seen.from_ms) if seen.from_ms else None,
        "rows": seen.rows,
        "hours": seen.hours,
        "different": seen.different,
        "repaired": seen.repaired,
    }
    if output is OutputFormat.json:
        show_one(summary | {"differences": [_difference(each) for each in seen.differences]}, output)
    else:
        show_one(summary, output)
        if seen.differences:
            columns = ("endpoint", "hour", "counted", "rows")
            show([_difference(each) for each in seen.differences], columns, output, "", ("tenant", "mode", "partition"))
    raise typer.Exit(ExitCode.FAILED if seen.different and not seen.repaired else ExitCode.DONE)


def _difference(difference: Difference) -> dict[str, Any]:
    names = [name for name, number in difference.counted.items() if difference.rows[name] != number]
    return {
        "tenant": difference.where.tenant,
        "mode": difference.where.mode,
        "endpoint": difference.where.endpoint_id or None,
        "partition": None if difference.where.endpoint_id else difference.where.part,
        "hour": iso(difference.where.begins_ms),
        "counted": {name: difference.counted[name] for name in names},
        "rows": {name: difference.rows[name] for name in names},
    }


@contextmanager
def _bar(unit: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on a terminal; yields what moves it."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        bar = progress.add_task(unit, total=None)
        yield lambda done, of: progress.update(bar, completed=done, total=of)
