"""The differences between the configuration of files and that of the service."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

import msgspec

from app.api.contract.tenants import TenantIn
from app.api.handlers.webhooks import effective_settings
from app.cli.configuration.desired import Desired, Entry, Kind, Scope
from app.cli.configuration.references import FIELDS as SECRET_FIELDS
from app.cli.configuration.references import KEYS, has_reference, is_reference
from app.cli.configuration.schema import EVENT_TYPE_FIELDS, TENANT_FIELDS
from app.core.model.endpoint import Endpoint
from app.core.model.endpoint_settings import FIELDS, NAMES
from app.core.model.receiver_auth import MASK
from app.profiles.catalog import PROFILES

Action = Literal["create", "change", "delete"]
#: the tenant of events without one, which works without being registered
UNREGISTERED = "default"
#: fields whose entries are compared one by one
_BY_ENTRY = ("headers", "metadata", "brand")


class FieldDifference(NamedTuple):
    """One field that differs; a secret is shown as its reference or as a mask."""

    field: str
    before: Any
    after: Any

    @property
    def top(self) -> str:
        """The field of the request that changes it."""
        return self.field.partition(".")[0]


class ConfigChange(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to create, change or delete."""

    action: Action
    kind: Kind
    scope: Scope
    name: str
    differences: tuple[FieldDifference, ...] = ()
    #: null: to delete
    entry: Entry | None = None
    #: as the service has it; null: to create
    live: Mapping[str, Any] | None = None


class Live(msgspec.Struct, kw_only=True):
    """What the service has of the tenants and modes that files name."""

    #: null: the files name no tenant
    tenants: dict[str, Mapping[str, Any]] = {}
    endpoints: dict[Scope, list[Mapping[str, Any]]] = {}
    event_types: dict[Scope, dict[str, Mapping[str, Any]]] = {}


class Plan(msgspec.Struct, kw_only=True):
    """The changes in the order in which they are made, and the entries that cannot be reached by any change."""

    changes: list[ConfigChange] = []
    unchanged: int = 0
    problems: list[str] = []


def plan(desired: Desired, live: Live, *, prune: bool = False, renew_secrets: bool = False) -> Plan:
    """Compare. `prune`: endpoints with a uid that no file names are deleted; `renew_secrets`: secrets that are set
    already are written again, since the service does not show whether they differ.
    """
    result = Plan()
    for entry in desired.of("tenant"):
        _add(result, _tenant_change(entry, live.tenants.get(entry.name)), entry)
    for entry in desired.of("event type"):
        _add(result, _event_type_change(entry, live.event_types.get(entry.scope, {}).get(entry.name)), entry)
    by_uid = {
        (scope, each["uid"]): each for scope, endpoints in live.endpoints.items() for each in endpoints if each["uid"]
    }
    for entry in desired.of("endpoint"):
        current = by_uid.get((entry.scope, entry.name))
        problem = _endpoint_problem(entry, current)
        if problem is not None:
            result.problems.append(f"{entry.place}: endpoint {entry.name}: {problem}")
        else:
            _add(result, _endpoint_change(entry, current, renew_secrets), entry)
    if prune:
        result.changes += _deletions(desired, by_uid)
    return result


def shown_settings(values: Mapping[str, Any], scope: Scope, profile: str) -> dict[str, Any]:
    """The settings that the API would show of an endpoint with these fields."""
    fields = {name: values[name] for name in NAMES if name in values}
    if "events" in fields:
        events = fields["events"]
        fields["events"] = list(dict.fromkeys([events] if isinstance(events, str) else events))
    whole = {"id": "", "tenant": scope.tenant, "mode": scope.mode or "live", "profile": profile, "url": "", **fields}
    shown: dict[str, Any] = msgspec.to_builtins(effective_settings(msgspec.convert(whole, Endpoint)))
    return shown


def default_of(field: msgspec.structs.FieldInfo) -> Any:
    """The value in a request that restores a field's default."""
    return field.default_factory() if field.default is msgspec.NODEFAULT else field.default


DEFAULTS: Mapping[str, Any] = {field.name: default_of(field) for field in FIELDS if not field.required}


def _add(result: Plan, change: ConfigChange | None, entry: Entry) -> None:
    if change is not None:
        result.changes.append(change)
    elif entry.managed:
        result.unchanged += 1


def _tenant_change(entry: Entry, current: Mapping[str, Any] | None) -> ConfigChange | None:
    wanted = msgspec.to_builtins(msgspec.convert(entry.values, TenantIn))
    if not entry.managed and (current is not None or entry.name == UNREGISTERED):
        return None
    if current is None:
        return _creation(entry, {name: entry.values[name] for name in TENANT_FIELDS if name in entry.values})
    if wanted["open_catalogue"] is None:
        wanted["open_catalogue"] = wanted["profile"] == "standard"
    before = {name: current.get(name, wanted[name]) for name in TENANT_FIELDS}
    if before.get("brand"):
        before["brand"] = {**dict.fromkeys(("name", "color", "logo"), ""), **before["brand"]}
    return _changed(entry, current, _differences(before, wanted, TENANT_FIELDS))


def _event_type_change(entry: Entry, current: Mapping[str, Any] | None) -> ConfigChange | None:
    if current is None:
        return _creation(entry, {name: value for name, value in entry.values.items() if name != "name"})
    wanted = {"description": "", "schema": None, "example": None, "mode": "off"} | dict(entry.values)
    return _changed(entry, current, _differences(current, wanted, EVENT_TYPE_FIELDS))


def _endpoint_problem(entry: Entry, current: Mapping[str, Any] | None) -> str | None:
    """Why no change leads to what the entry describes."""
    if current is None:
        masked = [name for name in SECRET_FIELDS if _has_mask(entry.values.get(name))]
        return f"{masked[0]}: {MASK} stands for a present value, and the endpoint is new" if masked else None
    if current["profile"] not in PROFILES:
        return f"its profile {current['profile']} is unknown here: use the version of the service"
    profile = entry.values.get("profile")
    if profile not in (None, current["profile"]):
        return f"profile: {current['profile']} cannot be changed to {profile}: give the new endpoint another uid"
    return None


def _endpoint_change(entry: Entry, current: Mapping[str, Any] | None, renew: bool) -> ConfigChange | None:
    if current is None:
        return _creation(entry, {name: value for name, value in entry.values.items() if name != "uid"})
    wanted = shown_settings(entry.values, entry.scope, current["profile"])
    differences = _differences({name: current.get(name, wanted[name]) for name in NAMES}, wanted, NAMES, entry.values)
    if renew:
        changed = {each.top for each in differences}
        differences += [
            FieldDifference(name, MASK, entry.values[name])
            for name in SECRET_FIELDS
            if name in NAMES and name not in changed and has_reference(entry.values.get(name))
        ]
    differences += _secret_differences(entry.values, current, renew)
    active = entry.values.get("active")
    if active is not None and active is (current["status"] == "disabled"):
        differences.append(FieldDifference("active", not active, active))
    return _changed(entry, current, differences)


def _secret_differences(values: Mapping[str, Any], current: Mapping[str, Any], renew: bool) -> list[FieldDifference]:
    differences = []
    for field, shown in KEYS.items():
        reference, present = values.get(field), bool(current.get(shown))
        if reference is not None and (renew or not present):
            differences.append(FieldDifference(field, MASK if present else None, reference))
    signed, secret = bool(current["secrets"]), values.get("secret")
    if values.get("unsigned") is True and signed:
        differences.append(FieldDifference("unsigned", False, True))
    if values.get("unsigned") is False and not signed and secret is None:
        differences.append(FieldDifference("unsigned", True, False))
    return differences


def _deletions(desired: Desired, by_uid: Mapping[tuple[Scope, str], Mapping[str, Any]]) -> Iterator[ConfigChange]:
    for (scope, uid), current in by_uid.items():
        if scope in desired.scopes and ("endpoint", scope, uid) not in desired.entries:
            url = FieldDifference("url", current["url"], None)
            yield ConfigChange(
                action="delete", kind="endpoint", scope=scope, name=uid, live=current, differences=(url,)
            )


def _creation(entry: Entry, values: Mapping[str, Any]) -> ConfigChange:
    differences = tuple(
        FieldDifference(each.field, None, each.after) for each in _differences({}, values, tuple(values), values)
    )
    return ConfigChange(
        action="create", kind=entry.kind, scope=entry.scope, name=entry.name, differences=differences, entry=entry
    )


def _changed(entry: Entry, current: Mapping[str, Any], differences: list[FieldDifference]) -> ConfigChange | None:
    if not differences:
        return None
    return ConfigChange(
        action="change",
        kind=entry.kind,
        scope=entry.scope,
        name=entry.name,
        differences=tuple(differences),
        entry=entry,
        live=current,
    )


def _differences(
    before: Mapping[str, Any], after: Mapping[str, Any], names: Iterable[str], written: Mapping[str, Any] | None = None
) -> list[FieldDifference]:
    """The fields that differ; `written` are the values of the file, in which secrets are references."""
    differences: list[FieldDifference] = []
    for name in names:
        old, new, source = before.get(name), after.get(name), (written or after).get(name)
        if same(old, new):
            continue
        if name in _BY_ENTRY and isinstance(new, Mapping | None) and isinstance(old, Mapping | None):
            differences += _by_entry(name, old or {}, new or {}, source if isinstance(source, Mapping) else {})
        else:
            differences.append(FieldDifference(name, old, new))
    return differences


def _by_entry(
    name: str, old: Mapping[str, Any], new: Mapping[str, Any], source: Mapping[str, Any]
) -> Iterator[FieldDifference]:
    for key in dict.fromkeys([*old, *new]):
        if not same(old.get(key), new.get(key)):
            yield FieldDifference(f"{name}.{key}", old.get(key), source.get(key, new.get(key)))


def same(before: Any, after: Any) -> bool:
    """Whether two values are equal, where a mask equals every reference to a secret."""
    if before == MASK and (after == MASK or is_reference(after)):
        return True
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        return before.keys() == after.keys() and all(same(before[key], after[key]) for key in before)
    if isinstance(before, list | tuple) and isinstance(after, list | tuple):
        return len(before) == len(after) and all(map(same, before, after))
    return bool(before == after) and isinstance(before, bool) is isinstance(after, bool)


def _has_mask(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_has_mask, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_has_mask, value))
    return bool(value == MASK)
