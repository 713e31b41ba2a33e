"""A rule of Prometheus as a value, and a group of them as the mapping that Prometheus reads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

#: where runbooks are, below the root of the repository; docs/operations.md says how to put an address before it
RUNBOOKS = "docs/runbooks"
Severity = Literal["critical", "warning", "info"]


class Recording(NamedTuple):
    """A query whose result becomes a series."""

    name: str
    expr: str

    def mapping(self) -> dict[str, Any]:
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

    def mapping(self) -> dict[str, Any]:
        """As in a file of rules."""
        return {
            "alert": self.name,
            "expr": self.expr,
            "for": self.lasts,
            "labels": {"severity": self.severity},
            "annotations": {
                "summary": self.summary,
                "description": self.description,
                "runbook_url": f"{RUNBOOKS}/{self.name}.md",
            },
        }


def group(name: str, rules: Iterable[Recording | Alert]) -> dict[str, Any]:
    """Rules that are evaluated one after the other."""
    return {"name": name, "rules": [rule.mapping() for rule in rules]}
