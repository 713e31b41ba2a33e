"""A profile is complete: the test names everything that CONTRIBUTING.md asks for and that is still missing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.core.model.custom_headers import RESERVED_PREFIXES
from app.embedded.receiver.verify import CHECKS
from app.profiles.catalog import PROFILES

_ROOT = Path(__file__).parents[2]
_GOLDEN_TEST = _ROOT / "tests" / "profiles" / "test_golden.py"


def missing(name: str) -> Iterator[str]:
    if name not in CHECKS:
        yield "the demo receiver cannot verify its signature: add a row to CHECKS in its verify module"
    if not any((_ROOT / "schemas" / "events" / name).glob("*.json")):
        yield f"the event catalogue is empty: add schemas/events/{name}/<event type>.json with an example"
    if not any((_ROOT / "tests" / "golden" / name).glob("*.json")):
        yield f"no bytes are pinned: add tests/golden/{name}/<case>.json, made without our code"
    if _GOLDEN_TEST.read_text(encoding="utf-8").count(f'"{name}": ') < 2:
        yield "tests/profiles/test_golden.py lacks its number of cases, or how its signature is written"
    if f"| `{name}` |" not in (_ROOT / "README.md").read_text(encoding="utf-8"):
        yield "README.md has no row for it in the table of profiles"
    for header, _ in PROFILES[name].headers(b"{}", (b"key",), "evt_1", 0):
        if not header.lower().startswith(RESERVED_PREFIXES):
            yield f"a customer could set the header {header}: add it to RESERVED_PREFIXES"


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_is_complete(name: str) -> None:
    problems = list(missing(name))
    assert not problems, "\n".join(problems)
