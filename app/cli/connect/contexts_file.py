"""The file of contexts: URLs and keys of management APIs, each under a name."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import msgspec

from app.core.errors import ConfigError
from app.core.secret_text import SecretText

#: what a section may have; `X_file` is the path of a file that has X
FIELDS = ("url", "key", "key_file", "admin_token", "admin_token_file", "ca_file")


class ApiContext(msgspec.Struct, frozen=True, kw_only=True):
    """One section, checked; the files it names are not read yet."""

    name: str
    file: Path
    url: str
    key: SecretText | None = None
    key_file: Path | None = None
    admin_token: SecretText | None = None
    admin_token_file: Path | None = None
    ca_file: Path | None = None

    def token(self, *, operator: bool) -> SecretText | None:
        """The key, or the operator's token; `ConfigError` when its file cannot be read."""
        field = "admin_token" if operator else "key"
        path: Path | None = getattr(self, f"{field}_file")
        if path is None:
            token: SecretText | None = getattr(self, field)
            return token
        try:
            return SecretText(path.read_text(encoding="utf-8").strip())
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it does not hold text"
            raise ConfigError([f"{self.file}: [context.{self.name}] {field}_file: {path}: {reason}"]) from error


def default_path(environ: Mapping[str, str]) -> Path:
    """The path that is read when `--config` is left out."""
    folder = environ.get("XDG_CONFIG_HOME") or str(Path(environ.get("HOME") or "~").expanduser() / ".config")
    return Path(folder) / "hookstream" / "config.toml"


def read(path: Path) -> dict[str, ApiContext]:
    """Return all contexts of a file. Raises `ConfigError` with everything that is wrong with it."""
    try:
        text = path.read_text(encoding="utf-8")
        whole = tomllib.loads(text)
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}"]) from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError([f"{path} is not TOML: {error}"]) from error
    problems = [f"{path}: {_misnamed(name)}" for name in whole if name != "context"]
    sections = whole.get("context", {})
    if not isinstance(sections, dict):
        raise ConfigError([*problems, f"{path}: context: write [context.NAME] and url = … under it"])
    contexts = {}
    for name, section in sections.items():
        mistakes = [f"{path}: [context.{name}] {sentence}" for sentence in _problems(section)]
        problems += mistakes
        if not mistakes:
            contexts[name] = _context(name, path, section)
    if problems:
        raise ConfigError(problems)
    _warn_of_readers(path, sections)
    return contexts


def chosen(path: Path, name: str) -> ApiContext:
    """Return the context of that name. Raises `ConfigError` with the nearest name, or all names, when there is none."""
    contexts = read(path)
    if name in contexts:
        return contexts[name]
    near = get_close_matches(name, contexts, n=1)
    others = f"; it has {', '.join(contexts)}" if contexts else ""
    raise ConfigError([f"{path} has no [context.{name}]" + (f"; did you mean {near[0]}?" if near else others)])


def _problems(section: Any) -> list[str]:
    if not isinstance(section, dict):
        return ["is not a section"]
    problems = [_unknown(name, FIELDS) for name in section if name not in FIELDS]
    problems += [
        f"{name}: text in quotes, please"
        for name, value in section.items()
        if name in FIELDS and not (isinstance(value, str) and value.strip())
    ]
    problems += [
        f"{name} and {name}_file are both set: keep one"
        for name in ("key", "admin_token")
        if name in section and f"{name}_file" in section
    ]
    if "url" not in section:
        problems.append('has no url: write url = "https://…"')
    return problems


def _misnamed(section: str) -> str:
    if section == "profile":
        return (
            "[profile.NAME] is the old name of these sections: write [context.NAME] in each, and --context NAME "
            "instead of --as NAME"
        )
    return f"{_unknown(section, ('context',))}; write [context.NAME]"


def _unknown(name: str, fields: tuple[str, ...]) -> str:
    near = get_close_matches(name, fields, n=1)
    return f"{name} is unknown" + (f"; did you mean {near[0]}?" if near else f" ({', '.join(fields)})")


def _context(name: str, path: Path, section: Mapping[str, str]) -> ApiContext:
    def secret(field: str) -> SecretText | None:
        return SecretText(section[field].strip()) if field in section else None

    def file(field: str) -> Path | None:
        """A path; a relative one starts at the folder of the file of contexts."""
        return path.parent / Path(section[field]).expanduser() if field in section else None

    return ApiContext(
        name=name,
        file=path,
        url=section["url"].strip(),
        ca_file=file("ca_file"),
        key=secret("key"),
        key_file=file("key_file"),
        admin_token=secret("admin_token"),
        admin_token_file=file("admin_token_file"),
    )


def _warn_of_readers(path: Path, sections: Mapping[str, Mapping[str, Any]]) -> None:
    if any({"key", "admin_token"} & section.keys() for section in sections.values()) and path.stat().st_mode & 0o077:
        print(f"warning: others can read the keys in {path}: chmod 600 {path}", file=sys.stderr)
