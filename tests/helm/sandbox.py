"""Run a command as a container does: as user 10001, without rights, and with folders alone that it can write.

The user exists in a namespace of its own: neither root nor an account is needed. Files are those of this machine.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

_NAMESPACE = ("unshare", "--user", "--map-user=10001", "--map-group=10001", "--keep-caps", "--mount")
_SANDBOX = (*_NAMESPACE, sys.executable, __file__)
#: of Linux

_MOUNT_SETATTR = 442
_AT_FDCWD = -100
_AT_RECURSIVE = 0x8000
_READ_ONLY = 1
_BIND = 4096


class _Attributes(ctypes.Structure):
    """`struct mount_attr` of Linux."""

    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "user_namespace")]


_LIBC = ctypes.CDLL(None, use_errno=True)


def _change(path: str, flags: int, attributes: _Attributes) -> None:
    size = ctypes.sizeof(attributes)
    _check(_LIBC.syscall(_MOUNT_SETATTR, _AT_FDCWD, path.encode(), flags, ctypes.byref(attributes), size), path)


def _check(answer: int, path: str) -> None:
    if answer:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)


def contained(folders: Sequence[Path], command: Sequence[str]) -> list[str]:
    """The command in a container; as it is on a machine that has no namespaces for its user."""
    return [*_SANDBOX, *map(str, folders), "--", *command] if available() else [*command]


@cache
def available() -> bool:
    """Whether this machine lets its user make namespaces, and has the programs and system calls for it."""
    try:
        return subprocess.run([*_SANDBOX, "--", "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def main() -> None:
    """Make everything read-only but the folders, then become the command."""
    border = sys.argv.index("--")
    folders, command = sys.argv[1:border], sys.argv[border + 1 :]
    here = Path.cwd()
    for folder in folders:
        _check(_LIBC.mount(folder.encode(), folder.encode(), None, _BIND, None), folder)
    _change("/", _AT_RECURSIVE, _Attributes(set=_READ_ONLY))
    for folder in folders:
        _change(folder, 0, _Attributes(clear=_READ_ONLY))
    os.chdir(here)  # again, for it may be in one of them
    without_rights = ["setpriv", "--no-new-privs", "--ambient-caps=-all", "--inh-caps=-all", "--bounding-set=-all"]
    os.execvp(without_rights[0], [*without_rights, "--", *command])


if __name__ == "__main__":
    main()
