"""Whom a command talks to: the management API (which one, with which key), or Kafka itself.

The address is the first of: `--url`; the context of `--context` (or `default` of the file of `--config`); the
context `default` of the user's file, unless the environment names a Kafka; a `hookstream up` that runs with the data
folder; HOOKSTREAM_PUBLIC_URL. A flag takes precedence over the same field of a context. Commands that can go over Kafka
do so when no API is named.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from app.cli.connect import contexts_file
from app.cli.connect.contexts_file import ApiContext
from app.cli.terminal.inputs import secret_of
from app.core.errors import ConfigError
from app.core.secret_text import SecretText
from app.settings import PREFIX


class Flags(msgspec.Struct, frozen=True, kw_only=True):
    """The API options of a command line."""

    url: str | None = None
    key: str | None = None
    key_file: str | None = None
    ca_file: str | None = None
    config: str | None = None
    context: str | None = None

    @property
    def has_key(self) -> bool:
        """Whether an API key is given."""
        return self.key is not None or self.key_file is not None


class OwnApi(msgspec.Struct, frozen=True):
    """The API of the installation that the settings describe, and its operator's token."""

    api_url: str
    admin_token: SecretText | None
    #: why it is this one, for a remark
    source: str = "the running `hookstream up`"


class ApiTarget(msgspec.Struct, frozen=True):
    """The URL of an API, and the credentials for it."""

    url: str
    token: SecretText
    ca_file: Path | None
    #: source of the address when the command line does not give one
    source: str | None = None
    #: tenant and mode that the operator acts for
    acting_for: tuple[str, str] | None = None


def choose(
    flags: Flags,
    environ: Mapping[str, str],
    find_own: Callable[[], OwnApi | None],
    *,
    operator: bool,
    direct: bool,
    or_operator: bool = False,
) -> ApiTarget | None:
    """The API to use; None: Kafka itself, which `direct` allows. `ConfigError` says how to name one.

    `or_operator`: without a key of a tenant the operator's token serves.
    """
    kafka = any(environ.get(f"{PREFIX}BOOTSTRAP_SERVERS{end}") for end in ("", "_FILE"))
    context = _context(flags, environ, kafka)
    if context is None and direct and flags == Flags():
        return None
    own = find_own() if flags.url is None and context is None else None
    url = flags.url or (context and context.url) or (own and own.api_url)
    if not url:
        raise ConfigError([_how(environ, kafka, operator)])
    key = secret_of("key", flags.key, flags.key_file)
    token = SecretText(key) if key is not None else None
    if token is None and context is not None:
        token = context.token(operator=operator) or (context.token(operator=True) if or_operator else None)
    if token is None and own is not None and (operator or or_operator):
        token = own.admin_token
    if token is None or not token.reveal():
        raise ConfigError([_no_key(url, context, own, operator)])
    source = None if flags.url or flags.context or flags.config else _source(context, own)
    return ApiTarget(_checked_url(url), _checked_token(token), _ca_file(flags, context), source)


def _context(flags: Flags, environ: Mapping[str, str], kafka: bool) -> ApiContext | None:
    path = Path(flags.config).expanduser() if flags.config else contexts_file.default_path(environ)
    if flags.context is not None:
        if not flags.config and not path.exists():
            raise ConfigError([f"--context {flags.context}: there is no file of contexts {path}\n{_EXAMPLE}"])
        return contexts_file.chosen(path, flags.context)
    if flags.config:
        if flags.url:
            raise ConfigError(
                ["--url and --config are both given: name with --context the context whose key goes to the URL"]
            )
        return contexts_file.chosen(path, "default")
    if flags.url or kafka or not path.exists():
        return None
    return contexts_file.read(path).get("default")


def _how(environ: Mapping[str, str], kafka: bool, operator: bool) -> str:
    key = "the operator's token" if operator else "sk_…"
    sentence = (
        f"This goes through the management API, and no address of one is known. Give --url https://… and "
        f"--key-file FILE ({key}), or --context NAME of a context in {contexts_file.default_path(environ)}.\n{_EXAMPLE}"
    )
    if kafka:
        sentence += (
            f"\nOn a machine with the settings of the service, {PREFIX}PUBLIC_URL and {PREFIX}ADMIN_TOKEN are used. "
            f"(While {PREFIX}BOOTSTRAP_SERVERS is set, the context `default` is used only with --context default.)"
        )
    return sentence


def _no_key(url: str, context: ApiContext | None, own: OwnApi | None, operator: bool) -> str:
    if context is not None:
        field = "admin_token" if operator else "key"
        return f"{context.file}: [context.{context.name}] has neither {field} nor {field}_file; or give --key-file FILE"
    if operator:
        return f"The API {url} asks for the operator's token (HOOKSTREAM_ADMIN_TOKEN of the service): --key-file FILE"
    sentence = (
        f"The API {url} asks for a key: --key-file FILE with sk_… in it (or --key, which others on the machine can see)"
    )
    if own is not None:
        sentence += (
            ". Make one with:  hookstream keys create --tenant default --mode live\nThe operator's token also serves, "
            "with --tenant T"
        )
    return sentence


_EXAMPLE = """Such a file:
  [context.default]
  url = "https://hooks.example.com"
  key_file = "live.key"            # or key = "sk_live_…"
  admin_token_file = "admin.token" # for `tenants` and `keys`"""


def _source(context: ApiContext | None, own: OwnApi | None) -> str | None:
    if context is not None:
        return f"context {context.name} of {context.file}"
    return own.source if own is not None else None


def _checked_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        good = False
    else:
        good = (
            good and not (parts.query or parts.fragment or "@" in parts.netloc) and url.isascii() and url.isprintable()
        )
    if not good or " " in url:
        shown = "an address with user or password" if "@" in url else repr(url)
        raise ConfigError([f"{shown} is no address of an API: write https://host, with port and path where needed"])
    return url.rstrip("/").removesuffix("/v1")


def _checked_token(token: SecretText) -> SecretText:
    text = token.reveal()
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise ConfigError(["the key has spaces, line breaks or other signs that no key has: is it the right file?"])
    return token


def _ca_file(flags: Flags, context: ApiContext | None) -> Path | None:
    if flags.ca_file is not None:
        return Path(flags.ca_file).expanduser()
    return context.ca_file if context is not None else None
