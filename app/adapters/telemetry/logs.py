"""Logging to stderr as JSON or as text: structlog, and the same format for the libraries' warnings."""

from __future__ import annotations

import json
import logging
import sys
import threading
from types import TracebackType
from typing import Any

import orjson
import structlog

#: libraries that log transient failures as errors; Faust reports a cancelled agent as crashed at every stop
_QUIET = {"aiokafka": logging.ERROR, "faust": logging.CRITICAL, "mode": logging.CRITICAL, "asyncio": logging.WARNING}

#: logged as JSON only; at a terminal Hookstream's own warnings suffice
_FOR_MACHINES = {"aiokafka"}
_SELDOM_S = 10.0
#: characters of a field, and of those that are longer by nature
_MOST_CHARACTERS = 4_000
_MOST = {"exception": 20_000}
_MOST_IN_LINE = 65_536
#: fragments of aiokafka's messages about failures that a retry does not remedy
_GRAVE = ("uthoriz", "uthentic", "SASL", "SSL", "ertificate", "nsupported", "ncompatible", "arge", "CRC", "nexpected")


def configure(*, style: str, level: str) -> None:
    """Set up logging for the process. `style` is json or console, `level` debug, info, warning or error."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info if style == "json" else _keep,
        _clipped,
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer(serializer=_dumps)
        if style == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    if level != "debug":
        handler.addFilter(_grave)
    handler.addFilter(_Seldom())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[_drop_meta, renderer])
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    for name, floor in _QUIET.items():
        logging.getLogger(name).setLevel(logging.CRITICAL if style == "console" and name in _FOR_MACHINES else floor)
    logging.captureWarnings(True)
    if style == "json":
        _catch_uncaught()


def _catch_uncaught() -> None:
    """What would end a thread, or is lost in a destructor, becomes a line, too."""
    logger = structlog.get_logger("python")

    def note(event: str, kind: type[BaseException], error: BaseException | None) -> None:
        logger.error(event, exc_info=error, error=kind.__name__)

    def main_thread(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, trace)
        else:
            note("process.uncaught", kind, error)

    sys.excepthook = main_thread
    sys.unraisablehook = lambda lost: note("process.unraisable", lost.exc_type, lost.exc_value)
    threading.excepthook = lambda ended: note("process.thread_ended", ended.exc_type, ended.exc_value)


def _grave(record: logging.LogRecord) -> bool:
    """Whether to show a record: of aiokafka, only failures that a retry does not remedy.

    `ClusterWatch` reports outages, once.
    """
    if record.name == "asyncio":
        text = record.getMessage()
        # a connection attempt that was cancelled, or a commit after its time limit, which its caller has reported
        return not (text.startswith("Unclosed AIOKafka") or "GroupCoordinator._do_commit_offsets" in text)
    if record.name.partition(".")[0] != "aiokafka" or record.exc_info:
        return True
    text = record.getMessage()
    if "is not authorized for this client" in text:  # with each refresh of the metadata; `RightsWatch` reports it once
        return False
    return any(word in text for word in _GRAVE)


class _Seldom(logging.Filter):
    """Shows the same message of a library once in ten seconds; aiokafka repeats it while a broker is down."""

    def __init__(self) -> None:
        super().__init__()
        self._logged_at: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to show the record (by its own time)."""
        key = (record.name, str(record.msg))
        if record.created - self._logged_at.get(key, 0.0) < _SELDOM_S:
            return False
        self._logged_at[key] = record.created
        return True


def _keep(_logger: Any, _method: str, event: Any) -> Any:
    return event


def _drop_meta(_logger: Any, _method: str, event: Any) -> Any:
    event.pop("_record", None)
    event.pop("_from_structlog", None)
    return event


def _clipped(_logger: Any, _method: str, event: Any) -> Any:
    """The fields, each with a bounded text: some quote what a customer has sent, or an exception does."""
    for name, value in event.items():
        if isinstance(value, str):
            most = _MOST.get(name, _MOST_CHARACTERS)
            if len(value) > most:
                event[name] = f"{value[: most // 2]} … {value[-(most // 2) :]} ({len(value)} characters)"
    return event


def _dumps(event: Any, **_: Any) -> str:
    try:
        text = orjson.dumps(event, default=repr).decode()
    except TypeError:  # half a surrogate pair, an integer of more than 64 bits, or a key that is no text
        text = json.dumps(event, default=repr, skipkeys=True)
    if len(text) <= _MOST_IN_LINE:
        return text
    short = {name: event[name] for name in ("event", "level", "timestamp") if name in event}
    return orjson.dumps({**short, "left_out": f"fields of {len(text)} characters"}).decode()
