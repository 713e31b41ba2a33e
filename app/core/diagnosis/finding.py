"""What `hookstream doctor` reports: findings, each with the command or setting that repairs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

#: error: something does not work, or will not; warning: it works now, and may not later; info: an advice
Severity = Literal["error", "warning", "info"]
CheckState = Literal["ok", "findings", "skipped"]
#: the order in which findings are shown
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")
#: names that one finding lists
SHOWN = 5


class DoctorFinding(Struct, frozen=True, kw_only=True):
    """One fault."""

    check: str
    severity: Severity
    problem: str
    #: a command or a setting, and what to do with it
    remedy: str


class Check(Struct, frozen=True, kw_only=True):
    """One check that was made, or why it was not."""

    check: str
    state: CheckState
    #: the subject of the check, or why it was skipped
    detail: str


class Examination(Struct, frozen=True, kw_only=True):
    """The result of all checks."""

    checks: tuple[Check, ...]
    findings: tuple[DoctorFinding, ...]

    @property
    def healthy(self) -> bool:
        """Whether there is no error and no warning."""
        return all(finding.severity == "info" for finding in self.findings)


def sorted_findings(findings: Sequence[DoctorFinding]) -> tuple[DoctorFinding, ...]:
    """The findings, the worst first; those of equal severity in the order of the checks."""
    return tuple(sorted(findings, key=lambda each: SEVERITIES.index(each.severity)))


def listed(names: Sequence[str]) -> str:
    """At most `SHOWN` names, and how many more there are."""
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
