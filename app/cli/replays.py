"""`hookstream replays`: what endpoints are given after the fact, by `resume` and `recover`."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli.api_session import ask, the_api, uses_api
from app.cli.output import Format, Output, show, show_one

app = typer.Typer(
    no_args_is_help=True,
    help="What endpoints are given after the fact (through the API). `endpoints resume` and `recover` begin a replay.",
)

Id = Annotated[str, typer.Argument(help="The replay's id.")]


@app.command("list")
@uses_api
def list_(output: Output = Format.table) -> None:
    """Show the replays of the key's tenant and mode."""
    found = ask(the_api(), lambda api: api.all("replays"))
    show(found, ("id", "endpoint", "reason", "state", "sent", "created_at"), output, "No replays.")


@app.command("show")
@uses_api
def show_command(replay_id: Id, output: Output = Format.table) -> None:
    """Show one replay: its state, and how many deliveries it has appended."""
    show_one(ask(the_api(), lambda api: api.get("replays", replay_id)), output)


@app.command("cancel")
@uses_api
def cancel(replay_id: Id, output: Output = Format.table) -> None:
    """Append nothing more of a replay; what it has appended is delivered."""
    show_one(ask(the_api(), lambda api: api.post("replays", replay_id, "cancel")), output)
