"""The content of `registry` in one process's memory: all entities by id, and which endpoints subscribe to a type.

Rules of this file
- A lookup never scans all endpoints: it joins at most one bucket for each prefix pattern of the type.
- The result for a tenant, mode and type is cached until an endpoint of that tenant and mode changes, if it is short.
  Where buckets are large, `page` continues behind an id, at a cost that depends on the page alone.
- The status of an endpoint plays no role here: lookups return paused and disabled endpoints, too.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from app.core.errors import Defect
from app.core.limits import TenantLimits
from app.core.model.delivery import DeliveryRevision
from app.core.model.endpoint import Endpoint
from app.core.model.event_types import EventType, includes, prefixes
from app.core.model.replay import Replay
from app.core.model.tenant import ApiKey, Tenant
from app.core.ordered_ids import OrderedIds
from app.core.sealing import SealedSamples
from app.core.subjects import KnownErasures

TenantScope = tuple[str, str]

#: entities that are copied at once
_STEP = 1000
#: the longest result that is cached, and the largest bucket that is sorted for each page
_SHORT = 1000


def patterns(event_type: str) -> tuple[str, ...]:
    """All patterns that match a type."""
    return event_type, *prefixes(event_type), "*"


def _id(endpoint: Endpoint) -> str:
    return endpoint.id


class _Bucket(dict[str, Endpoint]):
    """The endpoints of one pattern, with an ordered index of their ids once there are many."""

    __slots__ = ("_order",)

    def __init__(self) -> None:
        super().__init__()
        self._order: OrderedIds | None = None

    def put(self, endpoint: Endpoint) -> None:
        """Add or replace."""
        self[endpoint.id] = endpoint
        if self._order is not None:
            self._order.add(endpoint.id)
        elif len(self) > _SHORT:
            self._order = OrderedIds(self)

    def drop(self, endpoint_id: str) -> None:
        """Remove, if it is there."""
        if self.pop(endpoint_id, None) is not None and self._order is not None:
            self._order.discard(endpoint_id)

    def after(self, endpoint_id: str, limit: int) -> list[str]:
        """The ids behind `endpoint_id`, ascending, at most `limit`."""
        if self._order is None:
            ids = sorted(self)
            begin = bisect_right(ids, endpoint_id)
            return ids[begin : begin + limit]
        return self._order.after(endpoint_id, limit)


class _Index:
    """The endpoints of one tenant and mode, by pattern."""

    __slots__ = ("answers", "buckets", "members", "wide")

    def __init__(self) -> None:
        self.buckets: dict[str, _Bucket] = {}
        self.answers: dict[str, tuple[Endpoint, ...]] = {}
        #: the last result that was too long to be cached with the others
        self.wide: tuple[str, tuple[Endpoint, ...]] | None = None
        self.members: dict[str, Endpoint] = {}

    def subscribe(self, endpoint: Endpoint) -> None:
        """Add to the buckets of its patterns; all results are forgotten."""
        for pattern in endpoint.events:
            bucket = self.buckets.get(pattern)
            if bucket is None:
                bucket = self.buckets[pattern] = _Bucket()
            bucket.put(endpoint)
        self._forget()

    def unsubscribe(self, endpoint: Endpoint) -> None:
        """Remove from the buckets of its patterns; all results are forgotten."""
        for pattern in endpoint.events:
            bucket = self.buckets.get(pattern)
            if bucket is not None:
                bucket.drop(endpoint.id)
                if not bucket:
                    del self.buckets[pattern]
        self._forget()

    def _forget(self) -> None:
        self.answers.clear()
        self.wide = None


class Directory:
    """All entities of the registry; `put_*` and `remove_*` are called in the order of its records."""

    def __init__(self, opt_in: Callable[[str], Sequence[str]] = lambda profile: (), *, matches: bool = True) -> None:
        """`opt_in` returns the opt-in prefixes of a profile; `matches`: whether endpoints are indexed by pattern."""
        self._opt_in = opt_in
        self._matches = matches
        self._endpoints: dict[str, Endpoint] = {}
        self._indexes: dict[TenantScope, _Index] = {}
        self._census: Counter[str] = Counter({"active": 0, "paused": 0, "disabled": 0})
        self._failing: dict[str, Endpoint] = {}
        #: (tenant, mode, uid) → endpoint id
        self._uids: dict[tuple[str, str, str], str] = {}
        #: a sealed secret for each key id, to check a process's key ring
        self.sealed = SealedSamples()
        self.tenants: dict[str, Tenant] = {}
        #: the records of deletions, by tenant
        self.deleted_tenants: dict[str, Tenant] = {}
        self.keys: dict[str, ApiKey] = {}
        #: hex SHA-256 of a key → the key
        self.keys_by_digest: dict[str, ApiKey] = {}
        #: (tenant, mode, name) → event type; tenant and mode are empty for the installation's catalogue
        self.event_types: dict[tuple[str, str, str], EventType] = {}
        self._types: dict[tuple[str, str], dict[str, EventType]] = {}
        self._keys_of: Counter[str] = Counter()
        self._event_types_of: Counter[str] = Counter()
        self.replays: dict[str, Replay] = {}
        #: endpoint id → ids of its resumes that have not ended
        self._resumes: dict[str, set[str]] = {}
        self.erasures = KnownErasures()
        #: delivery id → its last manual action; the latest last
        self.revisions: dict[str, DeliveryRevision] = {}

    def __len__(self) -> int:
        return len(self._endpoints)

    def census(self) -> Mapping[str, int]:
        """The number of endpoints by status."""
        return self._census

    def failing(self) -> list[Endpoint]:
        """The endpoints that are shown as failing or whose circuit is open, of any status, in no order."""
        return list(self._failing.values())

    def holdings(self, tenant: str) -> TenantLimits:
        """The number of a tenant's endpoints, keys and event types, in both modes together."""
        indexes = (self._indexes.get((tenant, mode)) for mode in ("live", "test"))
        return TenantLimits(
            endpoints=sum(len(index.members) for index in indexes if index is not None),
            keys=self._keys_of[tenant],
            event_types=self._event_types_of[tenant],
        )

    def endpoint(self, endpoint_id: str) -> Endpoint | None:
        """The endpoint of an id, of any status; None if there is none."""
        return self._endpoints.get(endpoint_id)

    def endpoint_named(self, tenant: str, mode: str, name: str) -> Endpoint | None:
        """The endpoint of a tenant and mode with that id or, if there is none, with that uid."""
        endpoint = self._endpoints.get(name)
        if endpoint is not None and (endpoint.tenant, endpoint.mode) == (tenant, mode):
            return endpoint
        endpoint_id = self._uids.get((tenant, mode, name))
        return None if endpoint_id is None else self._endpoints.get(endpoint_id)

    def endpoints(self, tenant: str | None = None, mode: str | None = None) -> list[Endpoint]:
        """The endpoints of a tenant and mode (None: of all), ordered by id."""
        if tenant is not None and mode is not None:  # costs what the customer has, not what exists
            index = self._indexes.get((tenant, mode))
            return sorted(index.members.values(), key=lambda endpoint: endpoint.id) if index else []
        chosen = (e for e in self._endpoints.values() if tenant in (None, e.tenant) and mode in (None, e.mode))
        return sorted(chosen, key=lambda endpoint: endpoint.id)

    def match(self, tenant: str, mode: str, event_type: str) -> tuple[Endpoint, ...]:
        """The endpoints that subscribe to the type, of any status, ordered by id."""
        index = self._indexes.get((tenant, mode))
        if index is None:
            return ()
        answer = index.answers.get(event_type)
        if answer is None and index.wide is not None and index.wide[0] == event_type:
            return index.wide[1]
        if answer is None:
            answer = self._find(index, event_type)
            if len(answer) <= _SHORT:
                index.answers[event_type] = answer
            else:
                index.wide = event_type, answer
        return answer

    def subscribes(self, endpoint_id: str, tenant: str, mode: str, event_type: str) -> bool:
        """Whether an endpoint is among the results of `match`."""
        endpoint = self._endpoints.get(endpoint_id)
        if endpoint is None or (endpoint.tenant, endpoint.mode) != (tenant, mode):
            return False
        return self._includes(endpoint, event_type)

    def page(
        self, tenant: str, mode: str, event_type: str, after: str, limit: int
    ) -> tuple[Sequence[Endpoint], str | None]:
        """The results of `match` behind the id `after`, and the id to continue from; None: there are no more.

        It examines at most `limit` endpoints, so a page may have fewer results although more follow.
        """
        index = self._indexes.get((tenant, mode))
        if index is None:
            return (), None
        answer = index.answers.get(event_type)
        if answer is None:
            buckets = [index.buckets[each] for each in patterns(event_type) if each in index.buckets]
            if sum(map(len, buckets)) > _SHORT:
                return self._page(index, buckets, event_type, after, limit)
            answer = self.match(tenant, mode, event_type)
        if not after and len(answer) <= limit:
            return answer, None
        begin = bisect_right(answer, after, key=_id)
        end = begin + limit
        return answer[begin:end], answer[end - 1].id if end < len(answer) else None

    def copied(self, other: Directory) -> Iterator[None]:
        """Add all entities of another directory, which does not change meanwhile; a thousand in each step."""
        puts: tuple[tuple[Callable[[Any], None], Iterable[Any]], ...] = (
            (self.put_tenant, other.tenants.values()),
            (self.put_tenant, other.deleted_tenants.values()),
            (self.put_key, other.keys.values()),
            (self.put_event_type, other.event_types.values()),
            (self.put_endpoint, other._endpoints.values()),
            (self.put_replay, other.replays.values()),
            (self.put_revision, other.revisions.values()),
            (self.erasures.put, other.erasures.by_id.values()),
            (self.erasures.put_keys, other.erasures.keys.values()),
        )
        for put, entities in puts:
            for number, entity in enumerate(entities):
                put(entity)
                if number % _STEP == 0:
                    yield

    def _page(
        self, index: _Index, buckets: Sequence[_Bucket], event_type: str, after: str, limit: int
    ) -> tuple[Sequence[Endpoint], str | None]:
        ids: Sequence[str] = [id_ for bucket in buckets for id_ in bucket.after(after, limit + 1)]
        if len(buckets) > 1:
            ids = sorted(set(ids))
        examined = [index.members[id_] for id_ in ids[:limit]]
        matching = [each for each in examined if self._includes(each, event_type)]
        return matching, examined[-1].id if len(ids) > limit else None

    def _includes(self, endpoint: Endpoint, event_type: str) -> bool:
        opt_in = self._opt_in(endpoint.profile)
        return any(includes(pattern, event_type, opt_in) for pattern in endpoint.events)

    def _find(self, index: _Index, event_type: str) -> tuple[Endpoint, ...]:
        if not self._matches:
            raise Defect("this directory has no index by pattern")
        matching: dict[str, Endpoint] = {}
        for pattern in patterns(event_type):
            for endpoint in index.buckets.get(pattern, _NONE).values():
                if endpoint.id not in matching and includes(pattern, event_type, self._opt_in(endpoint.profile)):
                    matching[endpoint.id] = endpoint
        if len(index.answers) > _MAX_ANSWERS:
            index.answers.clear()
        return tuple(sorted(matching.values(), key=lambda endpoint: endpoint.id))

    def put_endpoint(self, endpoint: Endpoint) -> None:
        """Add or replace."""
        self.remove_endpoint(endpoint.id)
        self._endpoints[endpoint.id] = endpoint
        self._census[endpoint.status] += 1
        if endpoint.failing_since_ms is not None or endpoint.circuit is not None:
            self._failing[endpoint.id] = endpoint
        self.sealed.note(endpoint)
        if endpoint.uid is not None:
            self._uids[endpoint.tenant, endpoint.mode, endpoint.uid] = endpoint.id
        scope = endpoint.tenant, endpoint.mode
        index = self._indexes.get(scope)
        if index is None:
            index = self._indexes[scope] = _Index()
        index.members[endpoint.id] = endpoint
        if self._matches:
            index.subscribe(endpoint)

    def remove_endpoint(self, endpoint_id: str) -> None:
        """Remove, if it is there."""
        old = self._endpoints.pop(endpoint_id, None)
        if old is None:
            return
        self._census[old.status] -= 1
        self._failing.pop(endpoint_id, None)
        if old.uid is not None and self._uids.get((old.tenant, old.mode, old.uid)) == endpoint_id:
            del self._uids[old.tenant, old.mode, old.uid]
        index = self._indexes[old.tenant, old.mode]
        del index.members[endpoint_id]
        index.unsubscribe(old)

    def put_tenant(self, tenant: Tenant) -> None:
        """Add or replace."""
        self.remove_tenant(tenant.id)
        (self.tenants if tenant.deleted_at_ms is None else self.deleted_tenants)[tenant.id] = tenant

    def remove_tenant(self, tenant_id: str) -> None:
        """Remove; its endpoints stay until they are removed, too."""
        self.tenants.pop(tenant_id, None)
        self.deleted_tenants.pop(tenant_id, None)

    def put_key(self, key: ApiKey) -> None:
        """Add or replace."""
        self.remove_key(key.id)
        self.keys[key.id] = self.keys_by_digest[key.digest] = key
        self._keys_of[key.tenant] += 1

    def remove_key(self, key_id: str) -> None:
        """Remove, if it is there."""
        old = self.keys.pop(key_id, None)
        if old is not None:
            self.keys_by_digest.pop(old.digest, None)
            self._keys_of[old.tenant] -= 1

    def put_event_type(self, event_type: EventType) -> None:
        """Add or replace an event type."""
        name = (event_type.tenant, event_type.mode, event_type.name)
        self._event_types_of[event_type.tenant] += name not in self.event_types
        self.event_types[name] = event_type
        self._types.setdefault((event_type.tenant, event_type.mode), {})[event_type.name] = event_type

    def remove_event_type(self, name: str) -> None:
        """Remove an event type; `name` is `<tenant>/<mode>/<type>`. Does nothing if it does not exist."""
        tenant, _, rest = name.partition("/")
        mode, _, event_type = rest.partition("/")
        if self.event_types.pop((tenant, mode, event_type), None) is not None:
            self._event_types_of[tenant] -= 1
            del self._types[tenant, mode][event_type]

    def event_type(self, tenant: str, mode: str, name: str) -> EventType | None:
        """The declaration that holds for events of a tenant and mode: its own, else the installation's."""
        return self.event_types.get((tenant, mode, name)) or self.event_types.get((*INSTALLATION, name))

    def declared_types(self, tenant: str, mode: str) -> Mapping[str, EventType]:
        """All declarations that hold for a tenant and mode, by name."""
        return {**self._types.get(INSTALLATION, {}), **self._types.get((tenant, mode), {})}

    def put_replay(self, replay: Replay) -> None:
        """Add or replace."""
        self.remove_replay(replay.id)
        self.replays[replay.id] = replay
        if replay.reason == "resume" and replay.state not in ("done", "cancelled"):
            self._resumes.setdefault(replay.endpoint_id, set()).add(replay.id)

    def remove_replay(self, replay_id: str) -> None:
        """Remove, if it is there."""
        old = self.replays.pop(replay_id, None)
        if old is not None and replay_id in (resumes := self._resumes.get(old.endpoint_id, set())):
            resumes.remove(replay_id)
            if not resumes:
                del self._resumes[old.endpoint_id]

    def has_open_resume(self, endpoint_id: str) -> bool:
        """Whether a resume runs, or is still to come, that delivers the endpoint's parked deliveries."""
        endpoint = self._endpoints.get(endpoint_id)
        if endpoint is None or endpoint.status == "disabled":
            return False
        return endpoint.status == "paused" or endpoint_id in self._resumes

    def put_revision(self, revision: DeliveryRevision) -> None:
        """Add or replace."""
        self.revisions.pop(revision.id, None)
        self.revisions[revision.id] = revision

    def remove_revision(self, delivery_id: str) -> None:
        """Remove, if it is there."""
        self.revisions.pop(delivery_id, None)

    def scopes(self) -> list[TenantScope]:
        """The tenants and modes that have endpoints, in order."""
        return sorted(scope for scope, index in self._indexes.items() if index.members)


#: tenant and mode of the types of the installation's catalogue
INSTALLATION = ("", "")
_NONE: Mapping[str, Endpoint] = {}
#: cached results per tenant and mode: types are few, but a producer may invent new ones
_MAX_ANSWERS = 10_000
