"""Events for the API: read byte for byte, and posted in batches."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import typer

from app.cli.terminal.inputs import bytes_of
from app.core.errors import CommandRefused, HookstreamError, Unavailable

if TYPE_CHECKING:
    from app.adapters.http.api_client import ApiClient

#: events of one request, and bytes of them (a larger event goes alone)
BATCH, BATCH_BYTES = 1000, 1_000_000


def read(file: str) -> list[bytes]:
    """The events of a file (one, an array, or one on each line; - = stdin) as they are written there."""
    text = bytes_of(file)
    if not text.strip():
        return []
    try:
        if text.lstrip().startswith(b"["):
            return [bytes(each) for each in msgspec.json.decode(text, type=list[msgspec.Raw])]
        msgspec.json.decode(text)
    except ValueError:
        return [_line(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    return [text.strip()]


def _line(number: int, line: bytes) -> bytes:
    try:
        msgspec.json.decode(line)
    except ValueError as error:
        raise typer.BadParameter(f"line {number} is not JSON: {error}") from error
    return line.strip()


def batches(events: Sequence[bytes]) -> Iterator[list[bytes]]:
    """The events in order, in batches of at most one request's size."""
    batch: list[bytes] = []
    size = 0
    for event in events:
        if batch and (len(batch) == BATCH or size + len(event) > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(event)
        size += len(event) + 1
    if batch:
        yield batch


async def send(api: ApiClient, events: Sequence[bytes]) -> tuple[list[dict[str, Any]], HookstreamError | None]:
    """Post all events in order. Returns the accepted ones, and the error that ended the sending."""
    from rich.console import Console
    from rich.progress import Progress

    accepted: list[dict[str, Any]] = []
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        bar = progress.add_task("sending", total=len(events))
        for batch in batches(events):
            try:
                answer = await api.post("events", body=msgspec.Raw(b"[" + b",".join(batch) + b"]"))
            except (CommandRefused, Unavailable) as error:
                return accepted, _placed(error, len(accepted), len(batch), len(events))
            accepted += answer["data"]
            progress.update(bar, advance=len(batch))
    return accepted, None


def _placed(error: CommandRefused | Unavailable, begin: int, size: int, total: int) -> HookstreamError:
    """Print which events were appended, and which were not."""
    if total == 1:
        return error
    where = f"{begin} of {total} events were accepted; this was about the events {begin + 1} to {begin + size}"
    if isinstance(error, CommandRefused):
        return CommandRefused(error.code, f"{error.detail}\n{where} (pointers count from 0 within them).")
    return Unavailable(f"{error}\n{where}.")
