"""The file of all rules."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml

from monitoring import causes, objectives
from monitoring.rule import RUNBOOKS, Alert, Recording, group

_HEAD = "# Written by `make generate` from monitoring/*.py. Load it with rule_files; see docs/operations.md.\n"


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


def groups(runbooks: str) -> dict[str, Any]:
    """All groups of rules."""
    named: dict[str, Iterable[Recording | Alert]] = {
        "hookstream.causes.series": causes.RECORDINGS,
        "hookstream.objectives.series": objectives.recordings(),
        "hookstream.objectives": objectives.alerts(),
        "hookstream.service": causes.SERVICE,
        "hookstream.backlog": causes.BACKLOG,
        "hookstream.kafka": causes.KAFKA,
        "hookstream.receivers": causes.RECEIVERS,
    }
    return {"groups": [group(name, rules, runbooks) for name, rules in named.items()]}


def text(runbooks: str = RUNBOOKS) -> str:
    """The file; `runbooks` is the address of a runbook, with `{alert}` for the alert's name."""
    return _HEAD + yaml.dump(groups(runbooks), Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)
