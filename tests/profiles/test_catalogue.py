"""The event catalogue: complete, valid, and the same types as the products' documents list."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema_rs
import pytest

from app.core.errors import ConfigError
from app.profiles.catalog import PROFILES, CatalogueEntry, get, load_catalogue
from app.profiles.contract import EventView

ROOT = Path(__file__).parents[2] / "schemas" / "events"
CATALOGUE = load_catalogue(ROOT)
ENTRIES = [entry for types in CATALOGUE.values() for entry in types.values()]

each_entry = pytest.mark.parametrize("entry", ENTRIES, ids=[f"{each.profile}-{each.type}" for each in ENTRIES])

DOCUMENTED = {
    "standard": "ping user.created",
    "bota": """
        recording.created recording.uploaded recording.deleted
        transcription.started transcription.completed transcription.failed
        summary.started summary.completed summary.failed
        device.low_battery device.offline
    """,
    "efficlose": """
        recording.created recording.processing.started recording.processing.completed recording.processing.failed
        recording.transcript.ready recording.deleted
        meeting.created meeting.updated meeting.deleted meeting.started meeting.ended
        transcript.generated transcript.updated
        signal.detected signal.confirmed
        user.invited user.joined
    """,
    "recall": """
        bot.joining_call bot.in_waiting_room bot.in_call_not_recording bot.recording_permission_allowed
        bot.recording_permission_denied bot.in_call_recording bot.call_ended bot.done bot.fatal
    """,
    "voxscriber": """
        transcription.started transcription.progress transcription.completed transcription.failed transcription.retry
        upload.completed credits.low
    """,
}


def test_types_are_those_of_the_documents() -> None:
    assert {name: sorted(types) for name, types in CATALOGUE.items()} == {
        name: sorted(types.split()) for name, types in DOCUMENTED.items()
    }


@each_entry
def test_schema_is_json_schema_and_accepts_its_examples(entry: CatalogueEntry) -> None:
    schema = json.loads(entry.schema)
    jsonschema_rs.meta.validate(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == f"urn:hookstream:event:{entry.profile}:{entry.type}"
    assert entry.title == entry.type
    assert len(entry.description) > 5
    validator = jsonschema_rs.validator_for(schema)
    for example in entry.examples:
        validator.validate(json.loads(example))


@each_entry
def test_schema_asks_for_its_fields_and_allows_others(entry: CatalogueEntry) -> None:
    schema, example = json.loads(entry.schema), json.loads(entry.examples[0])
    validator = jsonschema_rs.validator_for(schema)
    assert validator.is_valid({**example, "added_later": 1})
    assert set(example) <= set(schema["properties"])
    for name in schema.get("required", ()):
        assert not validator.is_valid({key: value for key, value in example.items() if key != name})
    for name in example:
        assert not validator.is_valid({**example, name: [[]]}), name
    assert not validator.is_valid([])


@each_entry
def test_profile_carries_its_examples(entry: CatalogueEntry) -> None:
    for example in entry.examples:
        view = EventView(
            entry.example_id or "evt_1", entry.type, entry.example_created_at or "2025-01-15T10:00:00Z", example
        )
        said = json.loads(get(entry.profile).envelope(view))
        assert said["data"] == json.loads(example)


def test_codes_of_recall_stay_open() -> None:
    for entry in CATALOGUE["recall"].values():
        fields = json.loads(entry.schema)["properties"]["data"]["properties"]
        assert fields["code"]["type"] == "string"
        assert fields["sub_code"]["type"] == ["string", "null"]
        assert not {"enum", "const"} & {*fields["code"], *fields["sub_code"]}


def test_bota_shows_whole_events() -> None:
    assert all(entry.example_id and entry.example_created_at for entry in CATALOGUE["bota"].values())
    deleted = CATALOGUE["bota"]["recording.deleted"]
    assert (deleted.example_id, deleted.example_created_at) == ("evt_rst345", "2025-01-15T11:00:00Z")


def test_all_problems_of_a_catalogue_are_named_at_once(tmp_path: Path) -> None:
    for name, text in {
        "bota/a.b.json": "{",
        "bota/no example.json": "{}",
        "bota/empty.json": '{"title":"t","description":"d","examples":[]}',
        "nobody/a.b.json": '{"title":"t","description":"d","examples":[1]}',
        "standard/good.json": '{"title":"t","description":"d","examples":[{ "a" : 1.0 }]}',
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_catalogue(tmp_path)
    assert len(caught.value.problems) == 4
    with pytest.raises(ConfigError, match="is no directory"):
        load_catalogue(tmp_path / "missing")


def test_examples_are_compact_and_otherwise_untouched(tmp_path: Path) -> None:
    (tmp_path / "standard").mkdir()
    (tmp_path / "standard" / "a.b.json").write_text('{"title":"t","description":"d","examples":[{ "a" : 1.0 }]}')
    assert load_catalogue(tmp_path)["standard"]["a.b"].examples == (b'{"a":1.0}',)
    assert set(load_catalogue(tmp_path)) == set(PROFILES)
