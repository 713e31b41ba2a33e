"""A replay's progress as a bar, until it has ended."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from app.core.errors import Unavailable
from app.ports.clock import Clock

if TYPE_CHECKING:
    from app.adapters.http.api_client import ApiClient

_LOOK_S = 0.5
#: looks that may fail one after the other
_PATIENCE = 120


def say(replay: dict[str, Any]) -> None:
    """Print the service's notes about the range on standard error."""
    for message in replay.get("messages") or ():
        print(f"note: {message}", file=sys.stderr)


def say_it_goes_on(replay_id: str) -> None:
    """Tell a user who pressed Ctrl-C that the replay continues, and which commands show and cancel it."""
    print(
        f"Stopped watching. The replay goes on in the service.\n"
        f"  Show it:    hookstream replay show {replay_id} --follow\n"
        f"  Cancel it:  hookstream replay cancel {replay_id}",
        file=sys.stderr,
    )


async def follow(api: ApiClient, replay: dict[str, Any], clock: Clock) -> dict[str, Any]:
    """Query a replay until it has ended or is paused. Returns its last state."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[sent]} sent"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as display:
        bar = display.add_task(replay["state"], total=None, sent=0)
        silent = 0
        while True:
            progress = replay["progress"] or {}
            display.update(
                bar,
                description=replay["state"],
                total=progress.get("of"),
                completed=progress.get("read", 0),
                sent=replay["sent"],
            )
            if replay["state"] not in ("pending", "running"):
                return replay
            await clock.sleep(_LOOK_S)
            try:
                replay = await api.get("replays", replay["id"])
                silent = 0
            except Unavailable:  # the service may be starting again: the replay goes on where it was
                silent += 1
                if silent > _PATIENCE:
                    raise
