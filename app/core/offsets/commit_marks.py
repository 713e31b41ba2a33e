"""The metadata of Hookstream's own commits. An offset without a mark was committed by an operator's reset."""

from __future__ import annotations

#: the metadata of every commit
COMMIT_MARK = "hookstream"
#: the metadata of a commit after the log has moved
MOVED_MARK = "hookstream moved"
