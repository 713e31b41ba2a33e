"""Records of this version and of all earlier ones are decoded to the values that they stand for, for ever.

A failure here means that a running installation has records that this version misreads: change the code, not the file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest

from app.core.records import registry
from tests.core.records.golden_kinds import FOLDER, REGISTERED, Stored, as_bytes, document, kinds, plain

KINDS = {kind.path: kind for kind in kinds()}
FILES = sorted(FOLDER.glob("*/*.json"))
TOPICS = {path.stem for path in (Path(__file__).parents[3] / "topics").glob("*.yaml")}


def covers(got: Any, expected: Any) -> bool:
    """Whether every expected value is there; later versions may add fields, which have defaults."""
    if isinstance(expected, dict) and isinstance(got, dict):
        return all(name in got and covers(got[name], expected[name]) for name in expected)
    if isinstance(expected, list) and isinstance(got, list):
        return len(got) >= len(expected) and all(map(covers, got, expected))
    return bool(got == expected)


@pytest.mark.parametrize("path", FILES, ids=[f"{path.parent.name}/{path.stem}" for path in FILES])
def test_a_golden_record_is_decoded_to_its_values(path: Path) -> None:
    golden = json.loads(path.read_text("utf-8"))
    headers = [(name, as_bytes(text) or b"") for name, text in golden["headers"]]
    stored = Stored(as_bytes(golden["key"]), as_bytes(golden["value"]), headers)
    assert path in KINDS, "its kind is gone from the code, and not from the topics"
    assert covers(plain(KINDS[path].read(stored)), golden["decoded"])


def test_every_kind_of_record_has_a_golden_one() -> None:
    missing = [f"{kind.topic}/{kind.name}" for path, kind in KINDS.items() if path not in FILES]
    assert missing == [], "run python -m tests.core.records.golden_kinds"
    assert len(FILES) > 80


def test_every_topic_and_table_and_every_type_of_the_registry_has_kinds() -> None:
    assert {kind.topic for kind in KINDS.values()} == TOPICS
    assert set(REGISTERED) == set(get_args(registry.RegistryEntity))
    assert set(REGISTERED.values()) == registry._READERS.keys()


@pytest.mark.parametrize("path", sorted(KINDS), ids=[f"{kind.topic}/{kind.name}" for _, kind in sorted(KINDS.items())])
def test_what_this_version_writes_it_also_reads(path: Path) -> None:
    assert document(KINDS[path])["decoded"] is not None


def test_a_misread_value_is_noticed() -> None:
    assert covers({"a": [1, 2], "new": 0}, {"a": [1]}) and covers([{"b": None, "c": 1}], [{"b": None}])
    wrong: list[dict[str, Any]] = [{"a": [2]}, {"a": []}, {}, {"a": None}]
    for got in wrong:
        assert not covers(got, {"a": [1]})
