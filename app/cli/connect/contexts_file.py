"""The file of profiles: addresses and keys of the services that somebody works with, each under a name."""

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


class ApiProfile(msgspec.Struct, frozen=True, kw_only=True):
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
            raise ConfigError([f"{self.file}: [profile.{self.name}] {field}_file: {path}: {reason}"]) from error


def default_path(environ: Mapping[str, str]) -> Path:
    """Where the file is looked for when nobody names one."""
    folder = environ.get("XDG_CONFIG_HOME") or str(Path(environ.get("HOME") or "~").expanduser() / ".config")
    return Path(folder) / "hookstream" / "config.toml"


def read(path: Path) -> dict[str, ApiProfile]:
    """All profiles of a file; `ConfigError` has everything that is wrong with it."""
    try:
        text = path.read_text(encoding="utf-8")
        whole = tomllib.loads(text)
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}"]) from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError([f"{path} is not TOML: {error}"]) from error
    problems = [f"{path}: {_unknown(name, ('profile',))}; write [profile.NAME]" for name in whole if name != "profile"]
    sections = whole.get("profile", {})
    if not isinstance(sections, dict):
        raise ConfigError([*problems, f"{path}: profile: write [profile.NAME] and url = … under it"])
    profiles = {}
    for name, section in sections.items():
        found = [f"{path}: [profile.{name}] {sentence}" for sentence in _problems(section)]
        problems += found
        if not found:
            profiles[name] = _profile(name, path, section)
    if problems:
        raise ConfigError(problems)
    _warn_of_readers(path, sections)
    return profiles


def chosen(path: Path, name: str) -> ApiProfile:
    """The profile of that name; `ConfigError` names the nearest, or all, when there is none."""
    profiles = read(path)
    if name in profiles:
        return profiles[name]
    near = get_close_matches(name, profiles, n=1)
    known = f"; it has {', '.join(profiles)}" if profiles else ""
    raise ConfigError([f"{path} has no [profile.{name}]" + (f"; did you mean {near[0]}?" if near else known)])


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


def _unknown(name: str, known: tuple[str, ...]) -> str:
    near = get_close_matches(name, known, n=1)
    return f"{name} is not known" + (f"; did you mean {near[0]}?" if near else f" ({', '.join(known)})")


def _profile(name: str, path: Path, section: Mapping[str, str]) -> ApiProfile:
    def secret(field: str) -> SecretText | None:
        return SecretText(section[field].strip()) if field in section else None

    def file(field: str) -> Path | None:
        """Relative to the file of profiles, where nothing else is said."""
        return path.parent / Path(section[field]).expanduser() if field in section else None

    return ApiProfile(
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
