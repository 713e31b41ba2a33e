"""The options with which every command can be sent through the management API, and the way there."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from functools import wraps
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import msgspec
import typer

from app.cli.connect import completion, process_context
from app.cli.connect.api_target import ApiTarget, Flags, OwnApi, choose
from app.cli.terminal.inputs import WHY_FILE
from app.cli.terminal.option_problems import names_of, use_names
from app.cli.terminal.options import parameters_of, show_parameters
from app.core.errors import HookstreamError
from app.core.secret_text import SecretText

if TYPE_CHECKING:
    from app.adapters.http.api_client import ApiClient

T = TypeVar("T")

_NOTHING = Flags()
_flags: ContextVar[Flags] = ContextVar("_flags", default=_NOTHING)
_OPTIONS: dict[str, Any] = {
    "api_url": Annotated[
        str | None, typer.Option("--url", metavar="URL", help="URL of the API, https://…. Default: see --context.")
    ],
    "api_key": Annotated[
        str | None,
        typer.Option(
            "--key", metavar="KEY", help="API key, sk_…; for tenants and keys the operator's token. Prefer a file:"
        ),
    ],
    "api_key_file": Annotated[
        str | None, typer.Option("--key-file", metavar="FILE", help=f"File with the key {WHY_FILE}.")
    ],
    "api_ca_file": Annotated[
        str | None, typer.Option("--ca-file", metavar="FILE", help="Additional trusted certificate authority (PEM).")
    ],
    "api_context": Annotated[
        str | None,
        typer.Option(
            "--context",
            metavar="NAME",
            autocompletion=completion.context_names,
            help="Address and key of [context.NAME] in ~/.config/hookstream/config.toml; `default` is used by itself "
            "unless a Kafka is set.",
        ),
    ],
    "api_config": Annotated[
        str | None, typer.Option("--config", metavar="FILE", help="Use another configuration file.")
    ],
}


def uses_api(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of the API; what they say is kept for `the_api` and `api_or_kafka`."""

    @wraps(command)
    def wrapped(**given: Any) -> None:
        _flags.set(Flags(**{name.removeprefix("api_"): given.pop(name) for name in _OPTIONS}))
        use_names(options)
        command(**given)

    own = list(inspect.signature(command, eval_str=True).parameters.values())
    options = names_of(own)
    last = [each for each in own if each.name == "output"]
    show_parameters(wrapped, [*(each for each in own if each.name != "output"), *parameters_of(_OPTIONS), *last])
    return wrapped


def flags() -> Flags:
    """The API options of the current command."""
    return _flags.get()


def redirect_url() -> str | None:
    """Take `--url` out of the API options, for a command that uses it for an endpoint's URL. Returns its value."""
    options = _flags.get()
    _flags.set(msgspec.structs.replace(options, url=None))
    return options.url


def the_api(*, operator: bool = False) -> ApiTarget:
    """The API, for commands that need it; without one the program ends with a sentence."""
    address = _choose(operator=operator, direct=False)
    assert address is not None, "choose() raises where it is not `direct`"
    return address


def api_for_anybody() -> ApiTarget:
    """The API with a tenant's key, or with the operator's token if there is no key."""
    address = _choose(operator=False, direct=False, or_operator=True)
    assert address is not None, "choose() raises where it is not `direct`"
    return address


def api_or_kafka(*, operator: bool = False) -> ApiTarget | None:
    """The target API if one is named; None: use Kafka."""
    return _choose(operator=operator, direct=True)


def _choose(*, operator: bool, direct: bool, or_operator: bool = False) -> ApiTarget | None:
    try:
        address = choose(flags(), os.environ, _own_api, operator=operator, direct=direct, or_operator=or_operator)
    except HookstreamError as error:
        process_context.fail(error)
    if address is not None:
        _remark(address)
    return address


def ask(address: ApiTarget, work: Callable[[ApiClient], Awaitable[T]]) -> T:
    """Connect, run the calls and return the result; errors end the program with a sentence."""
    from app.adapters.http.api_client import ApiClient  # slow to import, and not needed for --help

    async def whole() -> T:
        proxy = _proxy(address.url)
        async with ApiClient(
            address.url, address.token, ca_file=address.ca_file, proxy=proxy, acting_for=address.acting_for
        ) as api:
            return await work(api)

    return process_context.run(whole())


def _own_api() -> OwnApi | None:
    """The running `hookstream up` of the data folder, else the API of HOOKSTREAM_PUBLIC_URL."""
    settings = process_context.settings()
    service = process_context.running(settings.data_dir)
    if service is not None:
        return OwnApi(service.api_url, settings.admin_token or _token_in(settings.data_dir))
    if settings.public_url:
        return OwnApi(settings.public_url, settings.admin_token, "HOOKSTREAM_PUBLIC_URL")
    return None


def _token_in(data_dir: Path) -> SecretText | None:
    try:
        return SecretText((data_dir / "admin.token").read_text(encoding="ascii").strip())
    except (OSError, UnicodeDecodeError):
        return None


def _remark(address: ApiTarget) -> None:
    if address.source and sys.stderr.isatty():
        print(f"({address.url}, {address.source})", file=sys.stderr)
    host = urlsplit(address.url).hostname or ""
    if address.url.startswith("http://") and not _local(host):
        print(f"warning: the key goes to {host} unencrypted; use https:// if it leaves this network", file=sys.stderr)


def _local(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _proxy(url: str) -> str | None:
    """The proxy for a URL by HTTPS_PROXY and NO_PROXY; None: connect directly."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return None if _local(host) or proxy_bypass(host) else getproxies().get(parts.scheme)
