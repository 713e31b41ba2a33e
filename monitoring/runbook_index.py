"""The table of all alerts with links to their runbooks."""

from __future__ import annotations

import re

from monitoring import causes, objectives

_PLACEHOLDER = re.compile(r"\{\{.*?\}\}")

_HEAD = """# Runbooks

One page for each alert of `monitoring/rules/hookstream.yaml`: symptom, impact on customers, three first commands,
causes and remedies. Critical alerts page the person on call, warnings are handled during the day, infos are only shown.
[Dashboards and alerts](../operations.md#dashboards-and-alerts) describes how to load the rules.

`hookstream doctor` examines an installation as a whole ([on call](../on-call.md)).

Run the commands on a machine of the service, in a shell that has its settings ([prepare a
shell](../on-call.md#prepare-a-shell)). `HOST` is the address of a process, `T` a tenant, and `ENDPOINT` and `DELIVERY`
are ids. Commands for a tenant act in the mode `live` unless `--mode test` is given.

| alert | severity | fires when |
|---|---|---|
"""


def text() -> str:
    """The page."""
    rows: dict[str, list[str]] = {}
    summaries: dict[str, str] = {}
    for alert in (*objectives.alerts(), *causes.ALERTS):
        rows.setdefault(alert.name, []).append(alert.severity)
        summaries.setdefault(alert.name, _PLACEHOLDER.sub("…", alert.summary))
    return _HEAD + "".join(
        f"| [{name}]({name}.md) | {', '.join(severities)} | {summaries[name]} |\n" for name, severities in rows.items()
    )
