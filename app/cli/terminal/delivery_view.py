"""A delivery and an event as people read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

_HEAD = (
    "id",
    "event_id",
    "event_type",
    "endpoint",
    "state",
    "reason",
    "created_at",
    "updated_at",
    "next_attempt_at",
    "replay",
    "sequence",
    "ordering_key",
)
_SHOWN = 2000


def show(delivery: Mapping[str, Any]) -> None:
    """The delivery, its attempts, the last request and answer, and what to do."""
    console = Console()
    console.print(_fields({name: delivery[name] for name in _HEAD if delivery[name] is not None}))
    if delivery["attempts"]:
        console.print(_attempts(delivery["attempts"]))
    _show_request(console, delivery["request"])
    answers = [each["response"] for each in delivery["attempts"] if each["response"] is not None]
    if answers:
        console.print(f"\nlast answer: {answers[-1]['status']}")
        console.print(_fields(answers[-1]["headers"]))
        if answers[-1]["body"]:
            console.print(escape(answers[-1]["body"][:_SHOWN]), highlight=False)
    if delivery["hint"] is not None and delivery["state"] != "delivered":
        console.print(f"\n{escape(delivery['hint']['what'])}\n→ {escape(delivery['hint']['do'])}", highlight=False)


def show_event(event: Mapping[str, Any]) -> None:
    """The event, and each endpoint with the reason why it received the event or did not."""
    console = Console()
    head = (
        "id",
        "type",
        "tenant",
        "mode",
        "outcome",
        "reason",
        "detail",
        "created_at",
        "accepted_at",
        "ordering_key",
        "partition",
        "offset",
        "data_note",
    )
    console.print(_fields({name: event[name] for name in head if event[name] is not None}))
    if event["duplicate_of"] is not None:
        first = event["duplicate_of"]
        console.print(f"dropped: a duplicate of partition {first['partition']}, offset {first['offset']}")
    if event["data"] is not None:
        console.print_json(data=event["data"])
    for each in event["endpoints"]:
        given = f": {each['delivery']} is {each['state']}" if each["delivery"] is not None else ""
        console.print(f"\n{escape(each['endpoint'])} {each['why']}{given}", highlight=False, soft_wrap=True)
        console.print(f"  {escape(each['explanation'])}", highlight=False, soft_wrap=True)


def _attempts(attempts: list[Mapping[str, Any]]) -> Table:
    table = Table(title="attempts", title_justify="left")
    for column in ("#", "trigger", "started at", "ms", "status", "result", "error"):
        table.add_column(column, overflow="fold")
    for each in attempts:
        cells = (
            each["number"],
            each["trigger"],
            each["started_at"],
            each["duration_ms"],
            each["status"] or "",
            each["result"],
            each["error"] or "",
        )
        table.add_row(*(escape(str(cell)) for cell in cells))
    return table


def _show_request(console: Console, request: Mapping[str, Any] | None) -> None:
    if request is None:
        return
    console.print(f"\nrequest: {request['method']} {escape(request['url'])}", highlight=False)
    console.print(_fields(request["headers"] or {}))
    if request["body"] is not None:
        console.print(escape(request["body"][:_SHOWN]), highlight=False)
    if request["body_note"]:
        console.print(f"({escape(request['body_note'])})")


def _fields(values: Mapping[str, Any]) -> Table:
    table = Table(show_header=False, box=None)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in values.items():
        table.add_row(escape(name), escape(str(value)))
    return table
