"""The command `hookstream`."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli import (
    context,
    deliveries,
    endpoint_actions,
    endpoints,
    event_show,
    event_types,
    events,
    events_dropped,
    keys,
    ordering,
    readmodel,
    receiver,
    replay,
    run,
    stats,
    tenants,
    topics,
    up,
)
from app.cli.configuration import config

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Webhook delivery out of Kafka. Try it:  hookstream up --demo\n\n"
    "With --url, commands go through the management API of a service anywhere:  hookstream endpoints list "
    "--url https://hooks.example.com --key-file live.key.  ~/.config/hookstream/config.toml keeps addresses and keys "
    "as [profile.NAME]; --as NAME chooses one.\n\n"
    "Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 3 refused, 4 something is not reachable, 70 stuck and "
    "ended by its watchdog.",
)
app.command("up")(up.up)
app.command("run")(run.run)
app.command("stats")(stats.stats)
app.command("receiver")(receiver.receiver)
endpoints.app.add_typer(endpoint_actions.app)
app.add_typer(endpoints.app, name="endpoints")
events.app.add_typer(events_dropped.app)
events.app.add_typer(event_show.app)
app.add_typer(events.app, name="events")
app.add_typer(deliveries.app, name="deliveries")
app.add_typer(event_types.app, name="event-types")
app.add_typer(replay.app, name="replay")
app.add_typer(tenants.app, name="tenants")
app.add_typer(keys.app, name="keys")
app.add_typer(ordering.app, name="ordering")
app.add_typer(readmodel.app, name="readmodel")
app.add_typer(topics.app, name="topics")
app.add_typer(config, name="config")


@app.callback()
def before(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show what libraries say, too.")] = False,
) -> None:
    """Runs before each command."""
    if not verbose:
        context.quiet_logs()


def main() -> None:
    """The entry point of the console script."""
    app()
