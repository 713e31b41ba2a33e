"""Lists fit 80 columns, ids stay whole, and JSON has real types."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.cli.commands import deliveries, endpoints, events_list
from app.cli.terminal.output import OutputFormat, show
from tests.cli.answers import DELIVERY, ENDPOINT, EVENT, LONG, TENANT, TIME, URL, UUID

ROW: dict[str, Any] = {
    "id": DELIVERY,
    "endpoint": ENDPOINT,
    "event_id": UUID,
    "name": "identity.verification.session.requires_input",
    "tenant": TENANT,
    "mode": "live",
    "state": "delivered",
    "status": "disabled",
    "url": URL,
    "type": "identity.verification.session.requires_input",
    "last": "connection_refused",
    "accepted_at": TIME,
    "appended_at": TIME,
    "created_at": TIME,
    "hour": TIME,
    "outcome": "rejected: schema_mismatch",
    "reason": "schema_mismatch",
    "detail": LONG,
    "idempotency_key": UUID,
    "sent": 1_234_567,
    "profile": "standard-webhooks",
    "declared by": "installation",
    "enforce": "reject",
    "counted": {"attempts": 123456, "failed_attempts": 1234, "delivered": 122222},
    "rows": {"attempts": 123457, "failed_attempts": 1235, "delivered": 122222},
    "setting": "HOOKSTREAM_IDEMPOTENCY_TTL_HOURS",
    "value": LONG,
    "step": LONG,
    "done": True,
    "ordering_key": "customer-" + UUID,
    "waiting": 12,
    "topic": "hookstream.deliveries.delay.1h",
    "partitions": 12,
    "read": 1_234_567,
    "behind": 0,
}
#: the columns of every list command
LISTS = {
    "deliveries list": deliveries._COLUMNS,
    "endpoints list": endpoints._COLUMNS,
    "events list": events_list._COLUMNS,
    "events list, all tenants": (*events_list._COLUMNS, "tenant"),
    "events rejected": ("appended_at", "tenant", "reason", "detail"),
    "events duplicates": ("appended_at", "tenant", "event_id", "idempotency_key"),
    "events send": ("id", "type", "tenant"),
    "replay list": ("id", "state", "sent", "created_at"),
    "tenants list": ("id", "name", "profile"),
    "keys list": ("id", "tenant", "mode", "name"),
    "event-types list": ("name", "declared by", "enforce"),
    "ordering show": ("ordering_key", "state", "waiting"),
    "readmodel status": ("topic", "partitions", "read", "behind"),
    "readmodel check": ("endpoint", "hour", "counted", "rows"),
    "topics plan": ("step",),
    "topics apply": ("step", "done"),
    "config print": ("setting", "value"),
}


@pytest.fixture(autouse=True)
def _eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


@pytest.mark.parametrize("identifier", [DELIVERY, EVENT, UUID, "customer:" + UUID + ":order-2026-11-27"])
@pytest.mark.parametrize("command", LISTS)
def test_a_list_fits_80_columns_and_cuts_no_id(
    command: str, identifier: str, capsys: pytest.CaptureFixture[str]
) -> None:
    row = ROW | {"id": identifier}
    columns = LISTS[command]
    show([row, row | {"id": DELIVERY}], columns, OutputFormat.table, "")
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80, printed
    for column in {"id", "endpoint", "event_id", "tenant"} & set(columns):
        assert row[column] in printed, printed


def test_wide_prints_every_column_of_a_row_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    show([ROW], ("id", "detail"), OutputFormat.wide, "", ("url", "counted"))
    lines = capsys.readouterr().out.splitlines()
    (line,) = [each for each in lines if DELIVERY in each]
    assert LONG.strip() in line
    assert URL in line


def test_json_has_numbers_booleans_null_and_lists(capsys: pytest.CaptureFixture[str]) -> None:
    row = {"number": 5, "share": 0.5, "yes": True, "nothing": None, "list": ["a", 1], "text": "5"}
    show([row], ("number",), OutputFormat.json, "")
    assert json.loads(capsys.readouterr().out) == [row]


def test_an_empty_list_prints_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    show([], ("id",), OutputFormat.table, "No replays.")
    assert capsys.readouterr().out == "No replays.\n"
