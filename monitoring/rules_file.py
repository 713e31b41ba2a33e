"""The file of all rules."""

from __future__ import annotations

from typing import Any

import yaml

from monitoring import causes, objectives
from monitoring.rule import group

_HEAD = "# Written by `make generate` from monitoring/*.py. Load it with rule_files; see docs/operations.md.\n"


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


def groups() -> dict[str, Any]:
    """All groups of rules."""
    return {
        "groups": [
            group("hookstream.causes.series", causes.RECORDINGS),
            group("hookstream.objectives.series", objectives.recordings()),
            group("hookstream.objectives", objectives.alerts()),
            group("hookstream.service", causes.SERVICE),
            group("hookstream.backlog", causes.BACKLOG),
            group("hookstream.kafka", causes.KAFKA),
            group("hookstream.receivers", causes.RECEIVERS),
        ]
    }


def text() -> str:
    """The file."""
    return _HEAD + yaml.dump(groups(), Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)
