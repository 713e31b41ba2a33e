"""Logs that no longer contain a reader's position: the cause, and the offset at which reading continues.

Rules of this file
- Everything below the position of a reader is finished, as long as the log is the same.
- A topic that was deleted and created again is another log, of which nothing is finished. It is recognised by its id,
  which every commit of Hookstream has in its metadata.
- In doubt, records are processed again rather than left out.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

LogMoveKind = Literal["beginning_lost", "end_lost", "made_again", "shorter"]

_STAMP = "log="
_END = ";"
#: characters of a stamp at most
STAMP_LENGTH = len(_STAMP) + 32 + len(_END)


class LogMove(NamedTuple):
    """A change of a partition's log that its reader must follow."""

    kind: LogMoveKind
    #: the offset at which reading should have continued
    position: int
    #: the offset at which it does
    resume: int

    def sentence(self, topic: str, partition: int) -> str:
        """One sentence for the log."""
        place = f"{topic}, partition {partition}"
        match self.kind:
            case "beginning_lost":
                return (
                    f"{place} begins at {self.resume}, behind the committed offset {self.position}: records "
                    "between them were removed before they were read; reading continues at the beginning"
                )
            case "end_lost":
                return (
                    f"{place} ends at {self.resume}, before the committed offset {self.position}: the brokers have "
                    "lost records; the remaining ones are done, and reading continues at the end"
                )
            case "made_again":
                return f"{place} was deleted and created again: it is read from its beginning"
            case "shorter":
                return (
                    f"{place} ends before the committed offset {self.position}, and may be another log: it is read "
                    "from its beginning, and its records may be delivered again"
                )


def judge(position: int, begin: int, end: int, *, same: bool | None) -> LogMove | None:
    """Why `position` is not in a log from `begin` to `end`; None if it is.

    `same`: whether it is the log in which the position was reached; None: unknown.
    """
    if same is False:
        return LogMove("made_again", position, begin)
    if position < begin:
        return LogMove("beginning_lost", position, begin)
    if position > end:
        return LogMove("end_lost", position, end) if same else LogMove("shorter", position, begin)
    return None


def stamp(log_id: str, metadata: str) -> str:
    """The metadata of a commit, preceded by the id of the log unless that is empty."""
    return f"{_STAMP}{log_id}{_END}{metadata}" if log_id else metadata


def unstamp(metadata: str) -> tuple[str, str]:
    """The log id and the metadata of a stamped text; the id is empty if it has none."""
    if not metadata.startswith(_STAMP):
        return "", metadata
    log_id, _, rest = metadata[len(_STAMP) :].partition(_END)
    return log_id, rest
