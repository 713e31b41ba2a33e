"""A rule of Prometheus as a value, and a group of them as the mapping that Prometheus reads."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, NamedTuple

_PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
#: stands for an alert's name in the address of runbooks
ALERT = "{alert}"
#: where a runbook is, unless another address is chosen
RUNBOOKS = f"{_PROJECT['urls']['Documentation']}/runbooks/{ALERT}.md"
Severity = Literal["critical", "warning", "info"]


class Recording(NamedTuple):
    """A query whose result becomes a series."""

    name: str
    expr: str

    def mapping(self, runbooks: str) -> dict[str, Any]:
        """As in a file of rules."""
        return {"record": self.name, "expr": self.expr}


class Alert(NamedTuple):
    """A query that should have no result."""

    name: str
    #: critical: page the person on call; warning: handle it during the day; info: only show it
    severity: Severity
    #: for how long the query must have had a result
    lasts: str
    expr: str
    #: one line; templates of Prometheus are filled in
    summary: str
    #: what it means and what to do first
    description: str

    def mapping(self, runbooks: str) -> dict[str, Any]:
        """As in a file of rules."""
        return {
            "alert": self.name,
            "expr": self.expr,
            "for": self.lasts,
            "labels": {"severity": self.severity},
            "annotations": {
                "summary": self.summary,
                "description": self.description,
                "runbook_url": runbooks.replace(ALERT, self.name),
            },
        }


def group(name: str, rules: Iterable[Recording | Alert], runbooks: str) -> dict[str, Any]:
    """Rules that are evaluated one after the other."""
    return {"name": name, "rules": [rule.mapping(runbooks) for rule in rules]}


def runbooks_at(address: str) -> str:
    """The address of runbooks with `{alert}` for the alert's name: at the end, if the address has none."""
    return address if ALERT in address else f"{address.rstrip('/')}/{ALERT}.md"
