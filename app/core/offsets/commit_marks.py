"""The metadata of Hookstream's own commits: an offset without a mark was written by an operator's reset."""

from __future__ import annotations

#: the metadata of our commits
COMMIT_MARK = "hookstream"
#: the same of a commit that goes on in a log that has moved
MOVED_MARK = "hookstream moved"
