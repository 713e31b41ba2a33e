"""A log that is no longer where we left it: what has happened to it, and from where on to read.

Rules of this file
- Below the position of a reader everything is known to be done, as long as it is the same log.
- A topic that was deleted and made again is another log: nothing of it is done. Its id tells, which is in the metadata
  of every commit of ours.
- Where nobody can tell, records are rather worked on again than left out.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

LogMoveKind = Literal["beginning_lost", "end_lost", "made_again", "shorter"]

_STAMP = "log="
_END = ";"
#: characters of a stamp, at most
STAMP_LENGTH = len(_STAMP) + 32 + len(_END)


class LogMove(NamedTuple):
    """What became of a partition's log."""

    kind: LogMoveKind
    #: where reading was to go on, and where it does
    position: int
    resume: int

    def sentence(self, topic: str, partition: int) -> str:
        """For people."""
        place = f"{topic}, partition {partition}"
        match self.kind:
            case "beginning_lost":
                return (
                    f"{place} begins at {self.resume}, behind our offset {self.position}: what was between them was "
                    "removed before it was read; reading goes on at its beginning"
                )
            case "end_lost":
                return (
                    f"{place} ends at {self.resume}, before our offset {self.position}: the brokers have lost records; "
                    "what is left was done, and reading goes on at its end"
                )
            case "made_again":
                return f"{place} was deleted and made again: it is read from its beginning"
            case "shorter":
                return (
                    f"{place} ends before our offset {self.position}, and nothing tells whether it is the same log: "
                    "it is read from its beginning, and what is left may be sent again"
                )


def judge(position: int, begin: int, end: int, *, same: bool | None) -> LogMove | None:
    """What has happened when `position` cannot be read in a log from `begin` to `end`; None: it can.

    `same`: whether it is the log in which the position was reached; None: nobody can tell.
    """
    if same is False:
        return LogMove("made_again", position, begin)
    if position < begin:
        return LogMove("beginning_lost", position, begin)
    if position > end:
        return LogMove("end_lost", position, end) if same else LogMove("shorter", position, begin)
    return None


def stamp(log_id: str, metadata: str) -> str:
    """A commit's metadata with the id of the log; empty ids are not written."""
    return f"{_STAMP}{log_id}{_END}{metadata}" if log_id else metadata


def unstamp(metadata: str) -> tuple[str, str]:
    """The reverse: (log id, metadata); the id is empty where there is none."""
    if not metadata.startswith(_STAMP):
        return "", metadata
    log_id, _, rest = metadata[len(_STAMP) :].partition(_END)
    return log_id, rest
