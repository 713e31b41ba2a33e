"""The configuration that files describe, checked, with the place of each entry."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from app.cli.configuration.references import FIELDS, has_reference, secret_problems
from app.cli.configuration.schema import (
    MODES,
    TENANT_FIELDS,
    Document,
    EndpointEntry,
    EventTypeEntry,
    Section,
    TenantEntry,
)
from app.cli.configuration.yaml_reader import Rows, Table
from app.core.model.endpoint_settings import RULES
from app.core.model.event_types import is_event_type
from app.core.model.shape_problems import in_words, shape_problems

Kind = Literal["tenant", "event type", "endpoint"]
#: problems that are listed; one file can have many
MOST_PROBLEMS = 50


class Scope(NamedTuple):
    """Whose something is; both empty: the installation's, or those of the command's key."""

    tenant: str = ""
    mode: str = ""

    def __str__(self) -> str:
        """`acme/live`, or nothing."""
        return f"{self.tenant}/{self.mode}" if self.tenant else ""


class FilePlace(NamedTuple):
    """Where an entry is written."""

    file: Path
    line: int

    def __str__(self) -> str:
        """As compilers write it."""
        return f"{self.file}:{self.line}" if self.line else str(self.file)


class Entry(NamedTuple):
    """One tenant, event type or endpoint of a file."""

    kind: Kind
    scope: Scope
    name: str
    values: Mapping[str, Any]
    place: FilePlace
    #: a tenant whose settings are not managed has only its id
    managed: bool = True


class Desired:
    """The entries of all files, and the problems that were met."""

    def __init__(self) -> None:
        self.entries: dict[tuple[Kind, Scope, str], Entry] = {}
        self.tenants: dict[str, FilePlace] = {}
        #: tenants and modes with a list of endpoints, which `--prune` clears of others
        self.scopes: dict[Scope, FilePlace] = {}
        self.problems: list[str] = []

    def of(self, kind: Kind, scope: Scope | None = None) -> Iterator[Entry]:
        """The entries of a kind."""
        return (each for each in self.entries.values() if each.kind == kind and scope in (None, each.scope))

    @property
    def has_own(self) -> bool:
        """Whether something is described without a tenant."""
        return any(each.scope == Scope() for each in self.entries.values() if each.kind != "tenant") or (
            Scope() in self.scopes
        )

    def add_document(self, file: Path, document: Any, line: int) -> None:
        """Take the entries of one document of a file."""
        if document is None:
            return
        if not isinstance(document, Table):
            self._problem(FilePlace(file, line), "must be a mapping with `tenants`, `event_types` or `endpoints`")
            return
        self._check(file, document, Document, line)
        self._take_section(file, document, Scope())
        for entry, at in _rows(document.get("tenants")):
            if len(self.problems) > MOST_PROBLEMS:
                return
            self._take_tenant(file, entry, at)

    def _take_tenant(self, file: Path, entry: Any, line: int) -> None:
        place = FilePlace(file, line)
        if not isinstance(entry, Table) or not isinstance(entry.get("id"), str):
            self._problem(place, "a tenant is a mapping with an `id`")
            return
        if not self._check(file, entry, TenantEntry, line):
            return
        id_ = entry["id"]
        managed = any(name in entry for name in TENANT_FIELDS)
        values = {name: entry[name] for name in ("id", *TENANT_FIELDS) if name in entry}
        self.tenants.setdefault(id_, place)
        if managed or ("tenant", Scope(), id_) not in self.entries:
            self._add(Entry("tenant", Scope(), id_, values, place, managed))
        for mode in MODES:
            section = entry.get(mode)
            if isinstance(section, Table):
                self._check(file, section, Section, entry.lines[mode])
                self._take_section(file, section, Scope(id_, mode))

    def _take_section(self, file: Path, section: Table, scope: Scope) -> None:
        for entry, line in _rows(section.get("event_types")):
            if len(self.problems) > MOST_PROBLEMS:
                return
            if not isinstance(entry, Table):
                self._problem(FilePlace(file, line), "an event type is a mapping with a `name`")
            elif self._check(file, entry, EventTypeEntry, line):
                if is_event_type(entry["name"]):
                    self._add(Entry("event type", scope, entry["name"], entry, FilePlace(file, line)))
                else:
                    self._problem(
                        FilePlace(file, entry.lines["name"]), "name: letters, digits, _ and -, in parts with . between"
                    )
        if section.get("endpoints") is not None:
            self.scopes.setdefault(scope, FilePlace(file, section.lines["endpoints"]))
        for entry, line in _rows(section.get("endpoints")):
            if len(self.problems) > MOST_PROBLEMS:
                return
            if not isinstance(entry, Table):
                self._problem(FilePlace(file, line), "an endpoint is a mapping with `uid`, `url` and `events`")
            elif self._check(file, entry, EndpointEntry, line) and self._check_endpoint(file, entry):
                self._add(Entry("endpoint", scope, entry["uid"], entry, FilePlace(file, line)))

    def _check(self, file: Path, values: Table, kind: type[msgspec.Struct], line: int) -> bool:
        try:
            msgspec.convert(values, kind)
            return True
        except msgspec.ValidationError as error:
            problems = list(shape_problems(values, kind)) or [in_words(error)]
        for pointer, sentence in problems:
            self._problem(FilePlace(file, _line_of(values, pointer, line)), f"{_field(pointer)} {_in_words(sentence)}")
        return False

    def _check_endpoint(self, file: Path, entry: Table) -> bool:
        converted: EndpointEntry = msgspec.convert(entry, EndpointEntry)
        problems = secret_problems(entry)
        if entry.get("secret") is not None and entry.get("unsigned") is True:
            problems.append(("/unsigned", "excludes a secret"))
        for name, rule in RULES.items():
            if name not in entry or (name in FIELDS and has_reference(entry[name])):
                continue
            value = getattr(converted, name)
            for sentence in rule((value,) if name == "events" and isinstance(value, str) else value):
                problems.append((f"/{name}", sentence))
        for pointer, sentence in problems:
            self._problem(FilePlace(file, _line_of(entry, pointer, 0)), f"{_field(pointer)} {sentence}")
        return not problems

    def _add(self, entry: Entry) -> None:
        key = (entry.kind, entry.scope, entry.name)
        former = self.entries.get(key)
        if former is not None and former.managed:
            owner = f" of {entry.scope}" if entry.scope.tenant else ""
            self._problem(entry.place, f"{entry.kind} {entry.name}{owner} is described twice, first in {former.place}")
            return
        self.entries[key] = entry

    def _problem(self, place: FilePlace, sentence: str) -> None:
        self.problems.append(f"{place}: {sentence}")


def _rows(value: Any) -> Iterator[tuple[Any, int]]:
    if isinstance(value, Rows):
        yield from zip(value, value.lines, strict=True)


def _line_of(values: Table, pointer: str, line: int) -> int:
    """The line of the value at a JSON Pointer, or of the innermost one around it."""
    current: Any = values
    for step in pointer.split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        if isinstance(current, Table) and step in current:
            line, current = current.lines[step], current[step]
        elif isinstance(current, Rows) and step.isascii() and step.isdigit() and int(step) < len(current):
            line, current = current.lines[int(step)], current[int(step)]
        else:
            break
    return line


def _in_words(sentence: str) -> str:
    """msgspec's sentence about types in the words of YAML."""
    match = _TYPES.fullmatch(sentence)
    if match is None:
        return sentence
    wanted = " or ".join(_WORDS.get(each, each) for each in match[1].split(" | "))
    quoted = "; write it in quotes" if "str" in match[1] and match[2] in ("int", "float", "bool") else ""
    return f"must be {wanted}, not {_WORDS.get(match[2], match[2])}{quoted}"


_TYPES = re.compile(r"Expected `([^`]*)`, got `([^`]*)`")
_WORDS = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "nothing",
}


def _field(pointer: str) -> str:
    return pointer.removesuffix("/...").removeprefix("/").replace("/", ".").replace("~1", "/").replace("~0", "~") + ":"
