"""The registry as one process sees it: endpoints by id, and the index that answers "who gets this event".

Rules of this file
- A lookup never scans endpoints: it joins at most one bucket per prefix of the type (DESIGN section 5, fanout).
- The answer for a (tenant, mode, type) is remembered until an endpoint of that tenant and mode changes.
- Status is not judged here: a paused endpoint is found, and its reader decides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from app.core.matching import includes, prefixes
from app.core.model import ApiKey, Endpoint, EventType, Replay, Tenant, Turn

Scope = tuple[str, str]


class _Index:
    """The endpoints of one tenant and mode, by pattern."""

    __slots__ = ("answers", "buckets", "members")

    def __init__(self) -> None:
        self.buckets: dict[str, dict[str, Endpoint]] = {}
        self.answers: dict[str, tuple[Endpoint, ...]] = {}
        self.members: dict[str, Endpoint] = {}


class Directory:
    """All endpoints and tenants. Changed only by `put_*` and `remove_*`, in the order of the registry's records."""

    def __init__(self, opt_in: Callable[[str], Sequence[str]] = lambda profile: ()) -> None:
        """`opt_in` gives a profile's opt-in prefixes."""
        self._opt_in = opt_in
        self._endpoints: dict[str, Endpoint] = {}
        self._indexes: dict[Scope, _Index] = {}
        self._census: Counter[str] = Counter({"active": 0, "paused": 0, "disabled": 0})
        self.tenants: dict[str, Tenant] = {}
        self.keys: dict[str, ApiKey] = {}
        #: hex SHA-256 of a key → the key
        self.keys_by_digest: dict[str, ApiKey] = {}
        #: (tenant, mode, name) → the tenant's own event type
        self.event_types: dict[tuple[str, str, str], EventType] = {}
        self.replays: dict[str, Replay] = {}
        #: endpoint → its resumes that have not ended
        self._resumes: dict[str, set[str]] = {}
        #: delivery id → what was last asked of it while it waited; the latest request last
        self.turns: dict[str, Turn] = {}

    def __len__(self) -> int:
        return len(self._endpoints)

    def census(self) -> Mapping[str, int]:
        """How many endpoints there are of each status."""
        return self._census

    def endpoint(self, endpoint_id: str) -> Endpoint | None:
        """The endpoint of that id, whatever its status."""
        return self._endpoints.get(endpoint_id)

    def endpoints(self, tenant: str | None = None, mode: str | None = None) -> list[Endpoint]:
        """The endpoints of a tenant and mode (None: of all), by id."""
        if tenant is not None and mode is not None:  # what customers ask costs what they have, not what there is
            index = self._indexes.get((tenant, mode))
            return sorted(index.members.values(), key=lambda endpoint: endpoint.id) if index else []
        found = (e for e in self._endpoints.values() if tenant in (None, e.tenant) and mode in (None, e.mode))
        return sorted(found, key=lambda endpoint: endpoint.id)

    def match(self, tenant: str, mode: str, event_type: str) -> tuple[Endpoint, ...]:
        """The endpoints whose subscription includes the type, by id, without regard to status."""
        index = self._indexes.get((tenant, mode))
        if index is None:
            return ()
        answer = index.answers.get(event_type)
        if answer is None:
            answer = index.answers[event_type] = self._find(index, event_type)
        return answer

    def _find(self, index: _Index, event_type: str) -> tuple[Endpoint, ...]:
        found: dict[str, Endpoint] = {}
        for pattern in (event_type, *prefixes(event_type), "*"):
            for endpoint in index.buckets.get(pattern, {}).values():
                if endpoint.id not in found and includes(pattern, event_type, self._opt_in(endpoint.profile)):
                    found[endpoint.id] = endpoint
        if len(index.answers) > _MAX_ANSWERS:
            index.answers.clear()
        return tuple(sorted(found.values(), key=lambda endpoint: endpoint.id))

    def put_endpoint(self, endpoint: Endpoint) -> None:
        """Add or replace."""
        self.remove_endpoint(endpoint.id)
        self._endpoints[endpoint.id] = endpoint
        self._census[endpoint.status] += 1
        index = self._indexes.setdefault((endpoint.tenant, endpoint.mode), _Index())
        index.members[endpoint.id] = endpoint
        for pattern in endpoint.events:
            index.buckets.setdefault(pattern, {})[endpoint.id] = endpoint
        index.answers.clear()

    def remove_endpoint(self, endpoint_id: str) -> None:
        """Forget; unknown ids are no error."""
        old = self._endpoints.pop(endpoint_id, None)
        if old is None:
            return
        self._census[old.status] -= 1
        index = self._indexes[old.tenant, old.mode]
        del index.members[endpoint_id]
        for pattern in old.events:
            bucket = index.buckets.get(pattern, {})
            bucket.pop(endpoint_id, None)
            if not bucket:
                index.buckets.pop(pattern, None)
        index.answers.clear()

    def put_tenant(self, tenant: Tenant) -> None:
        """Add or replace."""
        self.tenants[tenant.id] = tenant

    def remove_tenant(self, tenant_id: str) -> None:
        """Forget; its endpoints stay until they are removed themselves."""
        self.tenants.pop(tenant_id, None)

    def put_key(self, key: ApiKey) -> None:
        """Add or replace."""
        self.remove_key(key.id)
        self.keys[key.id] = self.keys_by_digest[key.digest] = key

    def remove_key(self, key_id: str) -> None:
        """Forget."""
        old = self.keys.pop(key_id, None)
        if old is not None:
            self.keys_by_digest.pop(old.digest, None)

    def put_event_type(self, event_type: EventType) -> None:
        """Add or replace."""
        self.event_types[event_type.tenant, event_type.mode, event_type.name] = event_type

    def remove_event_type(self, name: str) -> None:
        """Forget; `name` is `<tenant>/<mode>/<type>`."""
        tenant, _, rest = name.partition("/")
        mode, _, event_type = rest.partition("/")
        self.event_types.pop((tenant, mode, event_type), None)

    def put_replay(self, replay: Replay) -> None:
        """Add or replace."""
        self.remove_replay(replay.id)
        self.replays[replay.id] = replay
        if replay.reason == "resume" and replay.state not in ("done", "cancelled"):
            self._resumes.setdefault(replay.endpoint_id, set()).add(replay.id)

    def remove_replay(self, replay_id: str) -> None:
        """Forget."""
        old = self.replays.pop(replay_id, None)
        if old is not None and replay_id in (resumes := self._resumes.get(old.endpoint_id, set())):
            resumes.remove(replay_id)
            if not resumes:
                del self._resumes[old.endpoint_id]

    def brings(self, endpoint_id: str) -> bool:
        """Whether a resume is going on, or still to come, that brings what is put aside for the endpoint."""
        endpoint = self._endpoints.get(endpoint_id)
        if endpoint is None or endpoint.status == "disabled":
            return False
        return endpoint.status == "paused" or endpoint_id in self._resumes

    def put_turn(self, turn: Turn) -> None:
        """Add or replace."""
        self.turns.pop(turn.id, None)
        self.turns[turn.id] = turn

    def remove_turn(self, delivery_id: str) -> None:
        """Forget."""
        self.turns.pop(delivery_id, None)

    def scopes(self) -> list[Scope]:
        """The tenants and modes that have endpoints."""
        return sorted(scope for scope, index in self._indexes.items() if index.members)


#: remembered answers per tenant and mode: types are few, but a producer may invent them
_MAX_ANSWERS = 10_000
