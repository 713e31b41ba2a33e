"""The endpoints of an export as entries of our files, and what cannot be carried over."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from app.api.contract.tenants import TenantIn
from app.api.server.authentication import is_name
from app.cli.configuration.references import is_reference
from app.cli.configuration.schema import EndpointEntry
from app.cli.configuration.writer import dumped, replace
from app.core.errors import ConfigError
from app.core.model.endpoint_settings import NAMES, RULES
from app.core.model.event_types import is_pattern
from app.core.model.sensitive_headers import is_sensitive
from app.core.model.shape_problems import shape_problems
from app.profiles.catalog import PROFILES

#: the products send the payload as it is
ENVELOPE = "raw"


class Loss(NamedTuple):
    """Something that the files do not have, and why."""

    tenant: str
    endpoint: str
    what: str

    def __str__(self) -> str:
        """One line."""
        return ": ".join(part for part in (self.tenant, self.endpoint, self.what) if part)


class ImportedEndpoint(NamedTuple):
    """One endpoint of an export, before it is checked."""

    #: empty: the tenant of the command
    tenant: str
    #: how the export calls it
    name: str
    fields: Mapping[str, Any]
    secret: str = ""
    headers: Mapping[str, str] = {}


class ImportTarget(NamedTuple):
    """Where imported endpoints go, and how they are signed."""

    tenant: str | None
    mode: str
    profile: str
    signature: str | None = None


class Collection:
    """Checks endpoints one by one, and writes those that can be created."""

    def __init__(self, target: ImportTarget) -> None:
        self.target = target
        self.losses: list[Loss] = []
        self.read = 0
        #: tenant → uid → entry
        self._entries: dict[str, dict[str, dict[str, Any]]] = {}
        self._tenants: dict[str, dict[str, Any]] = {}
        #: file, relative to the folder → secret
        self._secrets: dict[str, str] = {}

    @property
    def carried(self) -> int:
        """The endpoints in the files."""
        return sum(map(len, self._entries.values()))

    def lose(self, tenant: str, endpoint: str, what: str) -> None:
        """Note each part that is not carried over."""
        self.losses.append(Loss(tenant[:128], endpoint[:256], what))

    def add_tenant(self, id_: str, settings: Mapping[str, Any]) -> None:
        """Take the settings of a tenant that fit, unless the command names the tenant."""
        if self.target.tenant is not None or not is_name(id_):
            return
        entry = {"id": id_} | {name: value for name, value in settings.items() if value}
        for pointer, sentence in list(shape_problems(entry, TenantIn)):
            field = pointer.split("/")[1]
            if entry.pop(field, None) is not None:
                self.lose(id_, "", f"{field}: {sentence}")
        self._tenants[id_] = entry

    def add(self, imported: ImportedEndpoint) -> None:
        """Take an endpoint, without the fields that do not fit."""
        self.read += 1
        tenant = self.target.tenant if self.target.tenant is not None else imported.tenant
        if tenant in (".", "..") or (tenant and not is_name(tenant)):
            self.lose(tenant, imported.name, "skipped: no id of a tenant can be like that: --tenant names one")
            return
        target = self.target
        entry = {"profile": target.profile, "signature": target.signature, "envelope": ENVELOPE, **imported.fields}
        entry = {name: value for name, value in entry.items() if value not in (None, "", [], {})}
        if not self._fitted(tenant, imported.name, entry):
            return
        uid = entry["uid"]
        taken = self._entries.setdefault(tenant, {})
        if uid in taken:
            same = taken[uid].get("url") == entry.get("url")
            self.lose(
                tenant, imported.name, f"skipped: uid {uid} occurs twice, with {'the same' if same else 'another'} URL"
            )
            return
        self._add_secrets(tenant, uid, entry, imported)
        first = {name: entry.pop(name) for name in ("uid", "url", "events")}
        taken[uid] = first | entry

    def write(self, folder: Path) -> list[Path]:
        """Write the files, and secrets that their owner alone can read. Returns the files of endpoints."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, secret in self._secrets.items():
            path = folder / name
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace(path, secret.encode() + b"\n", 0o600)
        written = []
        for tenant, endpoints in self._entries.items():
            section = {"endpoints": list(endpoints.values())}
            path = folder / (f"tenants/{tenant}.yaml" if tenant else "endpoints.yaml")
            path.parent.mkdir(parents=True, exist_ok=True)
            settings = self._tenants.get(tenant, {"id": tenant})
            document = {"tenants": [settings | {self.target.mode: section}]} if tenant else section
            replace(path, dumped(document).encode())
            written.append(path)
        return written

    def _fitted(self, tenant: str, name: str, entry: dict[str, Any]) -> bool:
        """Remove the fields that do not fit; false: the endpoint cannot be created."""
        patterns = entry.get("events", ["*"])
        good = [each for each in patterns if isinstance(each, str) and is_pattern(each)]
        for each in patterns:
            if each not in good:
                self.lose(tenant, name, f"event type {str(each)[:80]!r} cannot exist here")
        entry["events"] = good
        for field, sentence in _problems(entry):
            if field in ("uid", "url", "events", "profile", "signature"):
                self.lose(tenant, name, f"skipped: {field}: {sentence}")
                return False
            if entry.pop(field, None) is None:
                continue
            self.lose(tenant, name, f"{field}: {sentence}")
            if field == "filter":
                entry["active"] = False
                self.lose(tenant, name, "disabled: without its filter it would receive more than before")
        return True

    def _add_secrets(self, tenant: str, uid: str, entry: dict[str, Any], imported: ImportedEndpoint) -> None:
        if imported.secret:
            problem = _secret_problem(entry.get("signature") or entry["profile"], imported.secret)
            if problem is None:
                entry["secret"] = self._stored(tenant, uid, "secret", imported.secret)
            else:
                self.lose(tenant, imported.name, f"secret: {problem}; a new one is generated")
        headers = {}
        for name, value in imported.headers.items():
            problems = list(RULES["headers"]({name: value})) if isinstance(value, str) else ["is not text"]
            if not problems and is_reference(value) and not is_sensitive(name):
                problems = ["files could not tell it from a reference"]
            if problems:
                self.lose(tenant, imported.name, f"header {name[:80]!r}: {problems[0]}")
            else:
                headers[name] = (
                    self._stored(tenant, uid, f"{name.lower()}.header", value) if is_sensitive(name) else value
                )
        if headers:
            entry["headers"] = headers

    def _stored(self, tenant: str, uid: str, ending: str, secret: str) -> str:
        """Keep a secret for its file. Returns the reference to it."""
        name = f"{uid}.{ending}"
        if len(name) > 150:
            name = f"{name[:100]}.{hashlib.sha256(name.encode()).hexdigest()[:16]}"
        path = f"secrets/{tenant}/{name}" if tenant else f"secrets/{name}"
        self._secrets[path] = secret
        return f"file:../{path}" if tenant else f"file:{path}"


def _problems(entry: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(field, sentence) for each field that does not fit."""
    problems = [(pointer.split("/")[1], sentence) for pointer, sentence in shape_problems(entry, EndpointEntry)]
    misfits = {field for field, _ in problems}
    for name in NAMES:
        if name not in entry or name in misfits:
            continue
        value = msgspec.convert({"uid": "x", "url": "", "events": [], name: entry[name]}, EndpointEntry)
        problems += [(name, sentence) for sentence in RULES[name](getattr(value, name))] if name in RULES else []
    return problems


def _secret_problem(profile: str, secret: str) -> str | None:
    try:
        PROFILES[profile].key(secret)
    except ConfigError as error:
        return f"the profile {profile} cannot use it: {'; '.join(error.problems)}"
    return None if len(secret) <= 256 else "is longer than 256 characters"
