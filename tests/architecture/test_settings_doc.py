"""The table of settings in docs/operations.md agrees with the code, and documents name only settings that exist."""

from __future__ import annotations

import re
from pathlib import Path

from tests.architecture import settings_doc

_ROOT = Path(__file__).parents[2]
_MENTION = re.compile(r"\bHOOKSTREAM_[A-Z][A-Z_]*[A-Z]\b")
_DOCUMENTS = ("*.md", "docs/**/*.md", "compose.yaml", "Makefile")
#: read by tests/conftest.py
_OF_TESTS = {"HOOKSTREAM_TEST_BOOTSTRAP_SERVERS"}


def test_the_table_agrees_with_the_code() -> None:
    assert settings_doc.SECTION.read() == settings_doc.generated(), "run: make generate"


def test_only_existing_settings_are_mentioned() -> None:
    names = {name for name, _, _ in settings_doc.settings()} | _OF_TESTS
    files = [path for pattern in _DOCUMENTS for path in _ROOT.glob(pattern)]
    assert {_ROOT / "README.md", _ROOT / "docs/operations.md"} <= set(files)
    unknown = {
        (path.name, name)
        for path in files
        for name in _MENTION.findall(path.read_text(encoding="utf-8"))
        if not {name, name.removesuffix("_FILE")} & names
    }
    assert not unknown
