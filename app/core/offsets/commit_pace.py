"""When a role commits: soon after the first work, seldom while there is little."""

from __future__ import annotations

#: seconds from the first finished record to the commit
SOON_S = 0.1
#: least seconds between two commits while few records are finished
RARELY_S = 0.5
#: finished records that do not wait for that
MANY = 100


class CommitPace:
    """Decides when the next commit is due.

    A crash repeats finished work that was not committed: that of `SOON_S`, or fewer than `MANY` records of the last
    `RARELY_S`. At everyday rates a commit would otherwise follow each record or two, and cost as much.
    """

    def __init__(self) -> None:
        self._finished = 0
        self._committed_s = 0.0

    def finished(self, records: int = 1) -> None:
        """Note finished records."""
        self._finished += records

    def is_due(self, now_s: float) -> bool:
        """Whether finished records are to be committed; ask every `SOON_S`."""
        return self._finished >= MANY or now_s - self._committed_s >= RARELY_S

    def committing(self, now_s: float) -> None:
        """Note that a commit of everything finished so far begins."""
        self._finished, self._committed_s = 0, now_s
