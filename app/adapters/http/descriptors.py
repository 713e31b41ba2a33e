"""The number of files and sockets that this process may have open."""

from __future__ import annotations

import resource

import structlog

logger = structlog.get_logger(__name__)

#: never more than this is needed; the hard limit of some systems is far higher
_WANTED = 1_048_576


def raise_descriptor_limit() -> int:
    """Raise the soft limit to the hard one, up to `_WANTED`. Returns the limit in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _WANTED if hard == resource.RLIM_INFINITY else min(hard, _WANTED)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return _WANTED if soft == resource.RLIM_INFINITY else soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (ValueError, OSError) as error:
        logger.warning("process.descriptors", limit=soft, wanted=wanted, error=str(error))
        return soft
    return wanted
