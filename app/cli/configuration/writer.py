"""Configuration files: what the service has, as the YAML that `apply` reads."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from app.cli.configuration.desired import Scope
from app.cli.configuration.plan import Live, same, shown_settings
from app.cli.configuration.schema import EVENT_TYPE_FIELDS, MODES, TENANT_FIELDS
from app.cli.configuration.yaml_reader import plain_value
from app.core.model.endpoint_settings import NAMES

#: fields that come first in an endpoint's entry
_FIRST = ("uid", "url", "events")


class Exported:
    """The documents of an export, and what they cannot hold."""

    def __init__(self, live: Live) -> None:
        #: endpoints that no file can name
        self.without_uid = [
            (scope, each) for scope in sorted(live.endpoints) for each in live.endpoints[scope] if not each["uid"]
        ]
        self.masked = 0
        self.paused = 0
        self._live = live

    def documents(self) -> dict[str, Any]:
        """File → its document: one for each tenant, and one for what belongs to no tenant or to the key."""
        own = self._section(Scope())
        documents = {"own.yaml" if "endpoints" in own else "event-types.yaml": own} if own else {}
        for id_, tenant in self._live.tenants.items():
            entry = {"id": id_} | (_tenant(tenant) if "profile" in tenant else {})
            for mode in MODES:
                section = self._section(Scope(id_, mode))
                if section:
                    entry[mode] = section
            if len(entry) > 1:
                documents[f"tenants/{id_}.yaml"] = {"tenants": [entry]}
        return documents

    def _section(self, scope: Scope) -> dict[str, Any]:
        types = [_event_type(each) for each in self._live.event_types.get(scope, {}).values()]
        endpoints = [self._endpoint(each, scope) for each in self._live.endpoints.get(scope, []) if each["uid"]]
        return ({"event_types": types} if types else {}) | ({"endpoints": endpoints} if endpoints else {})

    def _endpoint(self, shown: Mapping[str, Any], scope: Scope) -> dict[str, Any]:
        entry = {name: shown[name] for name in _FIRST} | {"profile": shown["profile"]}
        if shown.get("kind") == "pull":
            entry = {"kind": "pull"} | {name: value for name, value in entry.items() if name != "url"}
        defaults = shown_settings(entry, scope, shown["profile"])
        for name in NAMES:
            if name not in _FIRST and name in shown and not same(defaults[name], shown[name]):
                # a null where the profile has a number: the rule is switched off
                entry[name] = 0 if shown[name] is None else shown[name]
        if not shown["secrets"]:
            entry["unsigned"] = True
        if shown["status"] == "disabled":
            entry["active"] = False
        self.paused += shown["status"] == "paused"
        self.masked += "********" in dumped(entry)
        return entry


def dumped(document: Any) -> str:
    """A document as YAML that `read_yaml` reads back."""
    import yaml

    return yaml.dump(document, Dumper=_dumper(), sort_keys=False, allow_unicode=True, width=110)


def write_files(folder: Path, documents: Mapping[str, Any]) -> Iterable[Path]:
    """Write each document that differs from its file. Returns the files that were written."""
    written = []
    for name, document in documents.items():
        path, content = folder / name, dumped(document).encode()
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_bytes() != content:
            replace(path, content)
            written.append(path)
    return written


def replace(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write a file as a whole, or not at all."""
    beside = path.with_name(f".{path.name[:200]}.new")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    os.replace(beside, path)


def _tenant(shown: Mapping[str, Any]) -> dict[str, Any]:
    entry = {name: shown[name] for name in TENANT_FIELDS if shown.get(name) not in (None, "", [], {})}
    if entry.get("open_catalogue", False) is (shown["profile"] == "standard"):
        entry.pop("open_catalogue", None)
    return entry


def _event_type(shown: Mapping[str, Any]) -> dict[str, Any]:
    plain = {"description": "", "schema": None, "example": None, "mode": "off"}
    return {"name": shown["name"]} | {
        name: shown[name] for name in EVENT_TYPE_FIELDS if shown.get(name) != plain.get(name)
    }


def _dumper() -> Any:
    """A dumper whose plain text is text for `plain_value`, too, and which writes no aliases."""
    import yaml

    base: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

    class Dumper(base):
        def ignore_aliases(self, _data: Any) -> bool:
            return True

    def text(dumper: Any, value: str) -> Any:
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=None if _is_text(value) else '"')

    def number(dumper: Any, value: float) -> Any:
        return dumper.represent_int(int(value)) if value.is_integer() else dumper.represent_float(value)

    Dumper.add_representer(str, text)
    Dumper.add_representer(float, number)
    return Dumper


def _is_text(value: str) -> bool:
    try:
        return isinstance(plain_value(value), str)
    except ValueError:
        return False
