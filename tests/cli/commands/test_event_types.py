"""OpenAPI documents as files: JSON, and YAML with what only YAML has."""

from __future__ import annotations

import pytest
from typer import BadParameter

from app.cli.commands.event_types import document_of


def test_a_document_is_json_or_yaml() -> None:
    assert document_of(b'{"openapi": "3.1.0"}') == {"openapi": "3.1.0"}
    assert document_of(b"openapi: 3.1.0\non: {since: 2026-01-31}") == {
        "openapi": "3.1.0",
        "true": {"since": "2026-01-31"},
    }


@pytest.mark.parametrize("text", [b"", b"[1]", b"a: [", b"\xff", b"a: !!binary aGk=", b"? {b: 1}\n: 2"])
def test_other_files_are_refused(text: bytes) -> None:
    with pytest.raises(BadParameter):
        document_of(text)
