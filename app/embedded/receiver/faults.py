"""Fault scripts: how the demo receiver misbehaves, request by request.

A script is a list of steps separated by commas; each step is used for one request, or for `n` with `*n`:

    status:500*3,200        three times 500, then 200 for ever (a bare number continues as a status)
    delay:2                 answer after 2 seconds
    retry-after:30          429 with Retry-After: 30
    redirect:URL            302 to that URL
    bigbody:10000000        200 with so many bytes
    hang                    read the request, never answer
    reset                   read the request, reset the connection
    garbage                 answer with bytes that are not HTTP
    sloppy                  204, followed by a body, which a 204 cannot have
    flood                   500 with 60 KiB of headers that are not UTF-8
    ok                      answer as usual
    badtls                  alone: listen with a self-signed certificate (for the whole receiver)

The last step repeats for ever; end with `ok` to be healthy again. Requests are counted for each path (and, with
`?fault=` in the URL, for each path and script).
"""

from __future__ import annotations

import re
from typing import Literal, get_args

import msgspec

from app.core.errors import ConfigError

FaultKind = Literal[
    "ok",
    "status",
    "delay",
    "retry-after",
    "redirect",
    "bigbody",
    "hang",
    "reset",
    "garbage",
    "sloppy",
    "flood",
    "badtls",
]

_STEP = re.compile(r"(?P<kind>[a-z-]+)?(?P<colon>:)?(?P<argument>.*?)(?:\*(?P<times>[0-9]{1,6}))?")
_NUMBERED: dict[str, tuple[int, int]] = {
    "status": (100, 999),
    "retry-after": (0, 10**9),
    "bigbody": (0, 10**10),
}


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One step."""

    kind: FaultKind
    #: the status, seconds or bytes, for the kinds that have one
    number: float = 0
    #: the target of `redirect`
    url: str = ""


class FaultScript(msgspec.Struct, frozen=True, kw_only=True):
    """Steps in order, each with its number of repetitions."""

    steps: tuple[tuple[Fault, int], ...]

    @classmethod
    def parse(cls, text: str) -> FaultScript:
        """Parse a script. Raises `ConfigError` with a sentence for each invalid step."""
        steps: list[tuple[Fault, int]] = []
        problems: list[str] = []
        for part in text.split(","):
            step = _read(part.strip())
            if step is None:
                problems.append(f"The fault {part.strip()!r} is not one of: {', '.join(get_args(FaultKind))}.")
            else:
                steps.append(step)
        if not problems and len(steps) > 1 and any(fault.kind == "badtls" for fault, _ in steps):
            problems.append("The fault 'badtls' cannot be combined: it is about the listener, not a request.")
        if problems:
            raise ConfigError(problems)
        return cls(steps=tuple(steps))

    @property
    def bad_tls(self) -> bool:
        """Whether the receiver must listen with an untrusted certificate."""
        return self.steps[0][0].kind == "badtls"

    def fault(self, number: int) -> Fault:
        """The step for request `number`, counted from 0."""
        for fault, times in self.steps:
            if number < times:
                return fault
            number -= times
        return self.steps[-1][0]


def _read(text: str) -> tuple[Fault, int] | None:
    match = _STEP.fullmatch(text)
    if match is None:
        return None
    argument, times = match["argument"], int(match["times"] or 1)
    kind = "status" if match["kind"] is None and match["colon"] is None else match["kind"]
    fault = _fault(kind, argument, has_argument=match["colon"] is not None or match["kind"] is None)
    return None if fault is None or times < 1 else (fault, times)


def _fault(kind: str | None, argument: str, *, has_argument: bool) -> Fault | None:
    match kind:
        case "ok" | "hang" | "reset" | "garbage" | "sloppy" | "flood" | "badtls" if not has_argument and not argument:
            return Fault(kind=kind)
        case "status" | "retry-after" | "bigbody" if re.fullmatch(r"[0-9]{1,11}", argument):
            low, high = _NUMBERED[kind]
            return Fault(kind=kind, number=int(argument)) if low <= int(argument) <= high else None
        case "delay" if re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", argument):
            return Fault(kind="delay", number=float(argument))
        case "redirect" if re.fullmatch(r"https?://[!-~]+", argument):
            return Fault(kind="redirect", url=argument)
    return None
