"""Shared by all commands: the settings, Kafka clients, the key ring, and how errors are shown."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Coroutine
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import msgspec
import typer

from app import settings as settings_module
from app.cli.terminal import option_problems
from app.core.errors import AccessDenied, CommandRefused, ConfigError, HookstreamError, Unavailable
from app.core.exit_codes import ExitCode
from app.core.kafka_connection import KafkaConnection
from app.core.secret_text import SecretText
from app.settings import UP_DEFAULTS, Settings

if TYPE_CHECKING:
    from app.adapters.kafka.clients import KafkaClients
    from app.adapters.secrets.keyring import AesKeyRing

T = TypeVar("T")

#: a command ends within 10 s when Kafka is silent; closing connections takes up to 3 s
_CONNECT_S = 5.0

_quiet = True


class RunningService(msgspec.Struct, frozen=True):
    """The addresses of a running `hookstream up`, which it stores in its data folder for other commands."""

    pid: int
    bootstrap: str
    api_url: str


@cache
def settings(*, development: bool = False) -> Settings:
    """The settings of this process; with `development`, the defaults of `up`."""
    loaded = settings_module.load(os.environ, UP_DEFAULTS if development else None)
    if loaded.cache_dir is None:
        from app.embedded.broker.jars import default_cache

        cache = default_cache(os.environ.get("XDG_CACHE_HOME"))
        loaded = msgspec.structs.replace(loaded, cache_dir=cache)
    return loaded


def left_open(name: str) -> bool:
    """Whether a setting is not set in the environment, neither directly nor by a file."""
    return not any(os.environ.get(f"{settings_module.PREFIX}{name}{end}") for end in ("", "_FILE"))


def with_operator_token(current: Settings) -> Settings:
    """The settings with an operator's token: of the setting, or else of the data folder, created if missing."""
    if current.admin_token is not None:
        return current
    from app.adapters.secrets.keyring import operator_token_in

    return msgspec.structs.replace(current, admin_token=SecretText(operator_token_in(current.data_dir)))


def running(data_dir: Path) -> RunningService | None:
    """The running `hookstream up` of a data folder; None if there is none."""
    try:
        service = msgspec.json.decode((data_dir / "up.json").read_bytes(), type=RunningService)
        os.kill(service.pid, 0)
    except (OSError, msgspec.MsgspecError):
        return None
    return service


def clients(*, connect_s: float | None = _CONNECT_S) -> KafkaClients:
    """Clients of the Kafka that the settings name, else of a running `up`'s broker. Raises `Unavailable`.

    `connect_s`: seconds in which a connection must be established; None: no limit, for services that wait for Kafka.
    """
    from app.adapters.kafka.clients import KafkaClients  # its library takes time, and most commands use the API

    return KafkaClients(_connection(), connect_s=connect_s)


def _connection() -> KafkaConnection:
    try:
        current = settings()
    except HookstreamError as error:
        fail(error)
    if current.bootstrap_servers:
        return settings_module.kafka_connection(current, current.bootstrap_servers)
    service = running(current.data_dir)
    if service is None:
        raise Unavailable(
            f"No Kafka to talk to: HOOKSTREAM_BOOTSTRAP_SERVERS is not set, and no `hookstream up` is running with the "
            f"data folder {current.data_dir} (HOOKSTREAM_DATA_DIR)."
        )
    return settings_module.kafka_connection(current, service.bootstrap)


def keyring(current: Settings, *, create: bool = False) -> AesKeyRing:
    """The key ring of the setting, or else of the data folder."""
    from app.adapters.secrets.keyring import AesKeyRing, ring_in

    text = current.secret_keys.reveal() if current.secret_keys else ring_in(current.data_dir, create=create)
    if text is None:
        raise ConfigError(
            [
                "HOOKSTREAM_SECRET_KEYS is not set and the data folder has no secret.keys. Make a ring with "
                "`hookstream keys generate` and give the same one to every process."
            ]
        )
    return AesKeyRing(text)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine; Hookstream's own errors end the program with a sentence and an exit code."""
    if _quiet and "structlog" in sys.modules:  # otherwise nothing has been imported that logs
        from app.adapters.telemetry import logs

        logs.configure(style="console", level="error")
    return _run(work)


def _run(work: Coroutine[Any, Any, T]) -> T:
    import asyncio

    import uvloop

    try:
        return uvloop.run(work)  # type: ignore[no-any-return]
    except HookstreamError as error:
        fail(error)
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise typer.Exit(ExitCode.INTERRUPTED) from None


def service(work: Callable[[], NoReturn], *, log_format: str) -> NoReturn:
    """Run a serving command, which reports a fatal error in the format of the log; `log_format` is its default."""
    try:
        work()
    except (HookstreamError, OSError) as error:
        raise typer.Exit(_report(error, log_format)) from None


def serve(work: Coroutine[Any, Any, int], *, log_format: str) -> NoReturn:
    """Run a service to its end and leave with its exit code, whatever libraries have left running.

    The service has stopped everything of its own by then; Faust and aiokafka may keep a thread or a task that does not
    listen to its cancellation, and waiting for it would mean waiting for ever.
    """
    from app.adapters.http.descriptors import raise_descriptor_limit

    raise_descriptor_limit()

    async def whole() -> None:
        # The collector's defaults are for small programs: it would look at every waiting delivery again and again.
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        try:
            code = await work
        except Exception as error:
            code = _report(error, log_format)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

    _run(whole())
    raise typer.Exit(ExitCode.FAILED)


def _report(error: Exception, log_format: str) -> int:
    """Report why a service ends, as a JSON line or as text like the log. Returns the exit code."""
    chosen = os.environ.get(f"{settings_module.PREFIX}LOG_FORMAT") or log_format
    code = _exit_code(error)
    if chosen == "console" and isinstance(error, HookstreamError):
        print(_sentences(error), file=sys.stderr)
        return code
    import structlog

    from app.adapters.telemetry import logs

    logs.configure(style="console" if chosen == "console" else "json", level="info")
    problems = {"problems": error.problems} if isinstance(error, ConfigError) else {}
    expected = isinstance(error, HookstreamError | OSError)
    logger = structlog.get_logger(__name__)
    logger.critical(
        "process.failed", reason=str(error), exit_code=code, exc_info=None if expected else error, **problems
    )
    return code


def guarded(work: Callable[[], int]) -> NoReturn:
    """Run a command that returns its exit code; Hookstream's own errors become a sentence and an exit code."""
    try:
        code = work()
    except HookstreamError as error:
        fail(error)
    raise typer.Exit(code)


def or_fail(work: Callable[[], T]) -> T:
    """Run a function; Hookstream's own errors end the program with a sentence and an exit code."""
    try:
        return work()
    except HookstreamError as error:
        fail(error)


def fail(error: HookstreamError) -> NoReturn:
    """Show an error and exit."""
    print(_sentences(error), file=sys.stderr)
    raise typer.Exit(_exit_code(error))


def _sentences(error: HookstreamError) -> str:
    match error:
        case ConfigError(problems=problems):
            return "\n".join(problems)
        case CommandRefused():
            return f"refused ({error.code}): {option_problems.sentence_of(error)}"
        case _:
            return str(error)


def _exit_code(error: Exception) -> ExitCode:
    match error:
        case ConfigError():
            return ExitCode.USAGE
        case CommandRefused() | AccessDenied():
            return ExitCode.REFUSED
        case Unavailable():
            return ExitCode.UNAVAILABLE
        case _:
            return ExitCode.FAILED


def show_library_logs() -> None:
    """Let `run` leave the log messages of libraries as they are; otherwise it shows errors only."""
    global _quiet
    _quiet = False
