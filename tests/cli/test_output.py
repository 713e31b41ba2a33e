"""What commands print: lists that fit 80 columns however long the ids and URLs are, and JSON with real types."""

from __future__ import annotations

import json
import os
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from app.adapters.kafka.groups import GroupStanding
from app.api.server.routes import ROUTES
from app.cli.commands.dead import grouped
from app.cli.connect import process_context
from app.cli.main import program
from app.core.model.endpoint import Endpoint
from app.core.model.tenant import Tenant
from app.core.offsets.resets import PartitionOffsets
from app.core.topics.drift import TopicDrift
from app.runtime.topics import topics_of
from app.settings import load
from tests.cli.answers import DELIVERY, ENDPOINT, EVENT, LONG, TENANT, TIME, TYPE, URL, UUID, LongApi, answer, longest
from tests.cli.command_tree import commands

API = ("--url", "http://127.0.0.1:1", "--key", "sk_live_1")
#: command through the API → its arguments, and the answer that it prints as JSON
THROUGH_API: dict[str, tuple[tuple[str, ...], Any]] = {
    "stats": ((), answer("GET", ("stats",))),
    "endpoints list": ((), answer("GET", ("webhooks",))["data"]),
    "endpoints show": ((ENDPOINT,), answer("GET", ("webhooks", ENDPOINT))),
    "events list": ((), answer("GET", ("events",))["data"]),
    "events show": ((EVENT,), answer("GET", ("events", EVENT))),
    "deliveries list": (("--limit", "2"), answer("GET", ("deliveries",))["data"]),
    "dead list": (("--limit", "2"), grouped(answer("GET", ("deliveries",))["data"])),
    "deliveries show": ((DELIVERY,), answer("GET", ("deliveries", DELIVERY))),
    "event-types list": ((), answer("GET", ("event-types",))["data"]),
    "event-types show": ((TYPE,), answer("GET", ("event-types", TYPE))),
    "erasures list": ((), answer("GET", ("erasures",))["data"]),
    "replay list": ((), answer("GET", ("replays",))["data"]),
    "replay show": ((DELIVERY,), answer("GET", ("replays", DELIVERY))),
    "tenants list": ((), answer("GET", ("tenants",))["data"]),
    "tenants show": ((TENANT,), answer("GET", ("tenants", TENANT))),
    "keys list": (
        ("--tenant", TENANT),
        [{"tenant": TENANT, **each} for each in answer("GET", ("tenants", TENANT, "keys"))["data"]],
    ),
}
ROW: dict[str, Any] = {
    "tenant": TENANT,
    "mode": "live",
    "reason": "schema_mismatch",
    "detail": LONG,
    "idempotency_key": UUID,
    "event_id": "customer:" + UUID + ":order-2026-11-27",
    "topic": "hookstream.events.raw",
    "partition": 11,
    "offset": 123_456_789,
    "appended_at": TIME,
    "first_partition": 11,
    "first_offset": 123_456_788,
    "first_appended_at": TIME,
}
QUEUE = {"ordering_key": "customer-" + UUID, "state": "under way", "waiting": 12_345}
TABLES = {
    "database": "postgresql://hookstream@database.internal.example.com:5432/hookstream_production",
    "schema": "0007",
    "program_schema": "0007",
    "newest_record_at": TIME,
    "topics": [{"topic": "hookstream.deliveries.dead", "partitions": 12, "behind": 1_234_567, "read": 99_234_567}],
}
STANDING = GroupStanding(
    group="hookstream.dispatch",
    state="PreparingRebalance",
    members=("hookstream-dispatch 10.200.130.140",) * 12,
    partitions=(
        PartitionOffsets(topic="hookstream.deliveries.delay.30m", partition=1, committed=None, begin=5, end=1_234_567),
    ),
)
GROUP_ROWS = [
    {
        "role": "dispatch",
        "topic": "hookstream.deliveries.delay.30m",
        "lag": 1_234_562,
        "clients": [*STANDING.members],
        "state": "PreparingRebalance",
        "members": 12,
        "group": "hookstream.dispatch",
    }
]
STEPS = [TopicDrift(spec, LONG) for spec in topics_of(load({}, None)).specs]
STEP_ROWS = [{"step": each.sentence(), "topic": each.spec.name, "kind": "drift"} for each in STEPS]
INPUT = {
    "input": "orders-of-the-eastern-warehouse",
    "topic": "warehouse.eu-central-1.outbox.event.order",
    "state": "absent",
    "partitions": 96,
    "behind": 1_234_567,
}
#: command over Kafka → its arguments, what its work returns, and the JSON that it prints
OVER_KAFKA: dict[str, tuple[tuple[str, ...], Any, Any]] = {
    "endpoints list": ((), [longest(Endpoint)] * 2, None),
    "endpoints show": ((ENDPOINT,), longest(Endpoint), None),
    "tenants list": (
        (),
        [longest(Tenant)],
        None,
    ),
    "events rejected": ((), [ROW], None),
    "events duplicates": ((), [ROW], None),
    "ordering show": ((ENDPOINT,), [QUEUE, QUEUE], None),
    "groups show": ((), {"dispatch": STANDING}, GROUP_ROWS),
    "readmodel status": ((), (TABLES, True), TABLES),
    "inputs plan": ((), ([INPUT], ()), [INPUT]),
    "topics plan": ((), STEPS, STEP_ROWS),
    "topics verify": ((), STEPS, STEP_ROWS),
}
#: commands that print settings or files of this machine
LOCAL = ("config print", "config contexts", "status")
#: commands that print an event's data as it is, and sentences that the terminal breaks
VERBATIM = ("events show",)
#: commands that print sentences only, which the terminal breaks
SENTENCES = ("verify",)
#: commands with one of these names print what there is, and change nothing
READING = {"list", "show", "status", "stats", "rejected", "duplicates", "plan", "verify", "print", "contexts"}


def printed(command: str, *arguments: str, output: str) -> str:
    words = [*command.split(), *arguments, "--output", output]
    result = CliRunner(env={"COLUMNS": "80"}).invoke(program(words), words)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    assert result.stderr == ""
    return result.stdout


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A data folder in which nothing runs, without contexts, and an API that answers at length."""
    monkeypatch.setenv("HOOKSTREAM_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr("app.adapters.http.api_client.ApiClient", LongApi)
    process_context.settings.cache_clear()
    yield tmp_path
    process_context.settings.cache_clear()


@pytest.fixture
def over_kafka(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The work of the command returns its result without Kafka."""

    def run(work: Coroutine[Any, Any, Any]) -> Any:
        work.close()
        return OVER_KAFKA[command][1]

    monkeypatch.setattr(process_context, "run", run)
    monkeypatch.setattr("app.cli.commands.inputs._inputs", lambda: None)


def fits(text: str) -> None:
    lines = text.splitlines()
    assert lines and max(map(len, lines)) <= 80, text


def keeps_ids(text: str, *entries: dict[str, Any]) -> None:
    """An id that is printed can be copied: it is on one line."""
    joined = "".join(text.split())
    for name in {name for each in entries for name in each} & {"id", "endpoint", "event_id", "tenant"}:
        for entry in entries:
            assert entry[name] not in joined or entry[name] in text, text


def test_every_reading_command_is_tried() -> None:
    reading = {name for name in commands() if name.split()[-1] in READING} - {"endpoints verify"}  # it asks a receiver
    assert reading == {*THROUGH_API, *OVER_KAFKA, *LOCAL, *SENTENCES}


def test_the_answers_have_the_types_of_the_contract() -> None:
    for route in ROUTES:
        type_ = route.of or route.gives
        if isinstance(type_, type):
            msgspec.json.decode(msgspec.json.encode(longest(type_)), type=type_)


@pytest.mark.parametrize("command", THROUGH_API)
def test_json_has_the_values_of_the_api(command: str) -> None:
    arguments, value = THROUGH_API[command]
    assert json.loads(printed(command, *arguments, *API, output="json")) == value


@pytest.mark.parametrize("command", THROUGH_API)
def test_80_columns_hold_what_the_api_answers(command: str) -> None:
    arguments, value = THROUGH_API[command]
    text = printed(command, *arguments, *API, output="table")
    if command not in VERBATIM:
        fits(text)
    keeps_ids(text, *(value if isinstance(value, list) else [value]))


@pytest.mark.parametrize("command", OVER_KAFKA)
@pytest.mark.usefixtures("over_kafka")
def test_json_has_the_values_of_kafka(command: str) -> None:
    arguments, result, expected = OVER_KAFKA[command]
    assert json.loads(printed(command, *arguments, output="json")) == (result if expected is None else expected)


@pytest.mark.parametrize("command", OVER_KAFKA)
@pytest.mark.usefixtures("over_kafka")
def test_80_columns_hold_what_kafka_has(command: str) -> None:
    arguments, result, _ = OVER_KAFKA[command]
    text = printed(command, *arguments, output="table")
    fits(text)
    keeps_ids(text, *(each for each in result if isinstance(each, dict)))


def test_settings_and_contexts_have_real_types_and_fit(folder: Path) -> None:
    (folder / "up.json").write_text(json.dumps({"pid": os.getpid(), "bootstrap": "127.0.0.1:1", "api_url": URL}))
    file = folder / "hookstream" / "config.toml"
    file.parent.mkdir()
    file.write_text(f'[context.production-of-a-customer-with-a-long-name]\nurl = "{URL}"\nkey = "sk_live_1"\n')
    file.chmod(0o600)
    settings = {each["setting"]: each["value"] for each in json.loads(printed("config print", output="json"))}
    assert settings["HOOKSTREAM_API_PORT"] == 8080 and settings["HOOKSTREAM_BOOTSTRAP_SERVERS"] is None
    assert json.loads(printed("status", output="json"))["pid"] == os.getpid()
    assert json.loads(printed("config contexts", output="json"))[0]["url"] == URL
    for command in LOCAL:
        fits(printed(command, output="table"))


@pytest.mark.parametrize(
    ("command", "secret"),
    [
        (("endpoints", "add", URL), "secret"),
        (("endpoints", "rotate-secret", ENDPOINT), "secret"),
        (("keys", "create", "--tenant", "acme", "--mode", "live"), "key"),
    ],
    ids=lambda each: " ".join(each[:2]) if isinstance(each, tuple) else "",
)
def test_a_secret_is_shown_once_and_a_person_is_reminded_to_store_it(command: tuple[str, ...], secret: str) -> None:
    words = [*command, *API]
    shown = CliRunner(env={"COLUMNS": "400"}).invoke(program(words), words)
    assert longest(str, secret) in shown.stdout
    assert shown.stderr == f"Store this {secret} now. It will not be shown again.\n"
    as_json = CliRunner().invoke(program(words), [*words, "-o", "json"])
    assert json.loads(as_json.stdout)[secret] and as_json.stderr == ""
