"""Failures to connect whose cause is this machine: no descriptors, memory, ports or route are left."""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Callable, Collection
from typing import Literal

from app.core.errors import Hindered

Family = socket.AddressFamily
_CAUSES: dict[int, tuple[Literal["descriptors", "memory"], str]] = {
    errno.EMFILE: ("descriptors", "this process has no descriptors left"),
    errno.ENFILE: ("descriptors", "this machine has no descriptors left"),
    errno.ENOMEM: ("memory", "the kernel has no memory left for a connection"),
    errno.ENOBUFS: ("memory", "the kernel has no buffers left for a connection"),
}
_UNREACHABLE = frozenset((errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN))
#: public addresses for queries of the routing table; nothing is sent to them
_SOMEWHERE = ((socket.AF_INET, "198.41.0.4"), (socket.AF_INET6, "2001:503:ba3e::2:30"))
#: aiohappyeyeballs joins the errors of several addresses into one text
_ERRNO = re.compile(r"\[Errno (\d+)\]")


def has_route(family: Family) -> bool:
    """Whether this machine has a route to public addresses of the family."""
    address = dict(_SOMEWHERE)[family]
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 53))
    except OSError as error:
        return error.errno in _CAUSES  # a lack of resources says nothing about routes
    return True


def hindrance(
    error: BaseException, families: Collection[socket.AddressFamily], route: Callable[[Family], bool] = has_route
) -> Hindered | None:
    """The resource that this machine lacked when `error` prevented a connection; None: the cause is elsewhere.

    `families` are those of the addresses tried. If a resource was missing for one of several addresses, that one might
    have answered, so the machine is the cause. A receiver that has addresses of only one family, for which this
    machine has no route, is unreachable by its own choice, as long as there is a route for the other family.
    """
    numbers = _numbers(error)
    for number in numbers & _CAUSES.keys():
        return Hindered(*_CAUSES[number])
    if errno.EADDRNOTAVAIL in numbers and numbers <= {errno.EADDRNOTAVAIL, *_UNREACHABLE}:
        ways = [route(family) for family in families]
        if any(ways) if len(numbers) == 1 else all(ways):
            return Hindered("ports", "this machine has no free port left for a connection")
    if numbers and numbers <= _UNREACHABLE and not route(socket.AF_INET) and not route(socket.AF_INET6):
        return Hindered("network", "this machine has no route to any public address")
    return None


def _numbers(error: BaseException) -> set[int]:
    if isinstance(error, OSError) and error.errno is not None:
        return {error.errno}
    return {int(number) for number in _ERRNO.findall(str(error))}
