"""The exit codes of `hookstream`."""

from __future__ import annotations

from enum import IntEnum

from msgspec import Struct


class ExitCode(IntEnum):
    """How a command or service ended."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    REFUSED = 3
    UNAVAILABLE = 4
    #: EX_SOFTWARE of sysexits.h
    STUCK = 70
    #: as a shell has it for SIGINT
    INTERRUPTED = 130

    def __repr__(self) -> str:
        """The number, as log lines show it."""
        return str(self.value)


class Meaning(Struct, frozen=True):
    """What an exit code means, and whether a supervisor should start the service again."""

    sentence: str
    restart: bool = False


MEANINGS: dict[ExitCode, Meaning] = {
    ExitCode.DONE: Meaning("done, or stopped as requested"),
    ExitCode.FAILED: Meaning("failed, or something did not stop in time", restart=True),
    ExitCode.USAGE: Meaning(
        "wrong usage or settings, all named; `topics plan`, `inputs plan`, `apply --dry-run`: something differs"
    ),
    ExitCode.REFUSED: Meaning("the service refused the request, or Kafka refused the user a right"),
    ExitCode.UNAVAILABLE: Meaning("something is unreachable: Kafka, the API, Java, a port", restart=True),
    ExitCode.STUCK: Meaning("stuck, ended by its own watchdog; the log has the reason", restart=True),
    ExitCode.INTERRUPTED: Meaning("interrupted"),
}


def sentence() -> str:
    """All exit codes in one sentence."""
    return "Exit codes: " + "; ".join(f"{code} {meaning.sentence}" for code, meaning in MEANINGS.items()) + "."
