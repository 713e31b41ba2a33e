"""One round: new endpoints and a tenant, traffic, a fault or two in the middle of it, and the verdict."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any
from uuid import UUID

from aiohttp import ClientError
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from tests.faults import checker, guests
from tests.faults.checker import Target, Verdict
from tests.faults.cluster import Cluster, Window
from tests.faults.faults import FAULTS, HARMLESS, ORDERLY, RARE, RELEASES
from tests.faults.observer import Observer
from tests.faults.receiver import Manners, Receiver
from tests.patience import LOOKS, PATIENCE_S

EVENTS = 600
KEYS = 12
#: seconds that the appending takes
TRAFFIC_S = 4.0
#: seconds before each attempt, before they are scaled
SCHEDULE = (0.0, 5.0, 5.0, 5.0)
_ALL = FAULTS | RARE | RELEASES


@dataclass(slots=True)
class Round:
    """What was done and what came of it."""

    seed: int
    faults: tuple[str, ...]
    seconds: float = 0.0
    kills: int = 0
    verdict: Verdict = field(default_factory=Verdict)


class Stage:
    """The cluster with the test's own clients around it; rounds follow each other on it."""

    def __init__(self, cluster: Cluster, observer: Observer | None = None) -> None:
        self.cluster = cluster
        self.receiver = Receiver()
        self.observer = observer or Observer(cluster.direct, cluster.prefix)
        self.windows: list[Window] = []
        self._producer = AIOKafkaProducer(
            bootstrap_servers=cluster.direct, acks="all", enable_idempotence=True, request_timeout_ms=120_000
        )

    async def start(self) -> None:
        """Everything."""
        await self.cluster.start()
        await self.receiver.start()
        await self.observer.start()
        await self._producer.start()

    async def stop(self) -> None:
        """Everything."""
        await self._producer.stop()
        await self.observer.stop()
        await self.cluster.stop()
        await self.receiver.stop()

    async def play(self, seed: int, faults: Sequence[str]) -> Round:
        """Play a round; what it has broken is in its verdict."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        scene = Scene(self, seed)
        played = Round(seed, tuple(faults))
        kills = self.cluster.kills
        await scene.prepare(faults)
        self.cluster.tenant = scene.tenant
        more = [guests.TRAFFIC[name](scene) for name in faults if name in guests.TRAFFIC]
        traffic = asyncio.gather(scene.append(), scene.change(), scene.pause_and_resume(), *more)
        try:
            await asyncio.sleep(scene.dice.uniform(0.2, 0.6) * TRAFFIC_S)
            for name in faults:
                await self.hurt(name, scene.dice)
            await asyncio.wait_for(traffic, PATIENCE_S)
        finally:
            traffic.cancel()
            await asyncio.gather(traffic, return_exceptions=True)
        await self.cluster.heal()
        played.verdict = await scene.verdict()
        played.verdict.broken += [f"a process: {said}" for said in self.cluster.ended_by_themselves]
        self.cluster.ended_by_themselves.clear()
        played.kills = self.cluster.kills - kills
        played.seconds = loop.time() - begun
        return played

    async def hurt(self, name: str, dice: Random) -> None:
        """Play one fault, and remember when it was."""
        loop = asyncio.get_running_loop()
        window = Window(name, loop.time())
        if name not in HARMLESS:
            self.windows.append(window)
        await _ALL[name](self.cluster, dice)
        window.ended = loop.time()

    async def send(self, event: dict[str, Any] | bytes, key: str) -> None:
        """Append to events.raw around the proxy; the broker may be away meanwhile."""
        value = event if isinstance(event, bytes) else json.dumps(event).encode()
        for _ in range(LOOKS):
            try:
                await self._producer.send_and_wait(f"{self.cluster.prefix}events.raw", value, key=key.encode())
            except KafkaError:
                await asyncio.sleep(0.2)  # perhaps it is appended: then this one is a producer's duplicate
            else:
                return
        raise AssertionError("the broker did not come back")


class Scene:
    """The endpoints and the traffic of one round."""

    def __init__(self, stage: Stage, seed: int) -> None:
        self.stage = stage
        self._api = stage.cluster.api
        self.dice = Random(seed)
        self._seed = seed
        self._ids = Random(f"ids {seed}")
        self.tenant = f"r{seed}"
        self._key = ""
        self._targets: list[Target] = []
        self._manners: list[Manners] = []
        self._faults: Sequence[str] = ()
        self._unwatched: list[Target] = []

    async def prepare(self, faults: Sequence[str]) -> None:
        """Register what the round needs."""
        self._faults = faults
        await self.register()
        await self.endpoint("steady")
        await self.endpoint("flaky", flaky=0.15)
        await self.endpoint("ordered", fifo=True, flaky=0.1, failures=2, takes_s=0.005)
        if not RELEASES.keys() & set(faults):  # an older release may not know what it asks for
            await self.shaped()
        if self.dice.random() < 0.5:
            await self.endpoint("dead", dead=True, types=frozenset({"order.closed"}))
        if self.dice.random() < 0.3:
            await self.endpoint("skipping", fifo=True, flaky=0.03, failures=9)
        for name in faults:
            if name in guests.ENDPOINTS:
                await guests.ENDPOINTS[name](self)

    async def shaped(self) -> None:
        """Its events are filtered, sent as CloudEvents, and with an access token that is renewed within the round."""
        path = f"/{self.tenant}/token"
        tokens = self.stage.receiver.serve_tokens(path)
        auth = {
            "type": "oauth2_client_credentials",
            "token_url": self.stage.receiver.url(path),
            "client_id": self.tenant,
            "client_secret": "a secret of the round",
        }
        wanted = {"filter": {"data": {"n": {"$gte": EVENTS // 2}}}, "envelope": "cloudevents-structured", "auth": auth}
        target = await self.endpoint("shaped", more=wanted, flaky=0.1, failures=2, cloud_events=True, tokens=tokens)
        target.accepts = lambda event: bool(event["data"].get("n", -1) >= EVENTS // 2)

    async def register(self) -> None:
        """The tenant, with a key of its own."""
        await self._ask("POST", "/v1/tenants", {"id": self.tenant}, operator=True)
        made = await self._ask("POST", f"/v1/tenants/{self.tenant}/keys", {"mode": "live"}, operator=True)
        self._key = made["key"]

    def appending(
        self, number: int, data: Mapping[str, Any], *, keys: int, duplicates: float, garbage: float
    ) -> set[asyncio.Task[None]]:
        """Begin to append an event of one of so many ordering keys, with these shares of duplicates and garbage."""
        key = f"{self.tenant}-k{self.dice.randrange(keys)}"
        kind = "order.closed" if number % 10 == 0 else "order.changed"
        values: list[Any] = [self.event(f"{self.tenant}-{number}", kind, ordering_key=key, data=data)]
        if self.dice.random() < duplicates:
            values *= 2
        if self.dice.random() < garbage:
            values.append(self.dice.randbytes(40))
        return {asyncio.create_task(self.stage.send(value, key)) for value in values}

    async def append(self) -> None:
        """Events of some ordering keys, with garbage and producers' duplicates among them."""
        pending: set[asyncio.Task[None]] = set()
        for number in range(EVENTS):
            pending |= self.appending(number, {"n": number}, keys=KEYS, duplicates=0.05, garbage=0.01)
            await asyncio.sleep(TRAFFIC_S / EVENTS)
            pending = {task for task in pending if not task.done() or task.exception()}
        await asyncio.gather(*pending)

    async def change(self) -> None:
        """Guarantee 7: what was confirmed is seen by every event that is appended afterwards."""
        for turn in range(4):
            made = await self.endpoint(f"new{turn}", types=frozenset({f"new.{turn}"}))
            made.only = {f"{self.tenant}-new{turn}"}
            await self.stage.send(self.event(f"{self.tenant}-new{turn}", f"new.{turn}"), "new")
            other = await self.endpoint(f"other{turn}", types=frozenset({f"late.{turn}"}))
            other.only = set()
            await self._ask("PATCH", f"/v1/webhooks/{other.endpoint}", {"events": [f"other.{turn}"]})
            await self.stage.send(self.event(f"{self.tenant}-late{turn}", f"late.{turn}"), "new")
            gone = await self.endpoint(f"gone{turn}", types=frozenset({f"gone.{turn}"}))
            await self._ask("DELETE", f"/v1/webhooks/{gone.endpoint}")
            self._targets.remove(gone)  # a request there is one that nobody should have sent
            await self.stage.send(self.event(f"{self.tenant}-gone{turn}", f"gone.{turn}"), "gone")
            await asyncio.sleep(self.dice.random() * TRAFFIC_S / 4)

    async def pause_and_resume(self) -> None:
        """In half of the rounds: an endpoint is paused for a while, as often an ordered one as another."""
        if self.dice.random() < 0.5:
            paused = self.dice.choice(
                [target for target in self._targets if target.path.endswith(("steady", "ordered"))]
            )
            await asyncio.sleep(self.dice.random() * TRAFFIC_S)
            await self._ask("POST", f"/v1/webhooks/{paused.endpoint}/pause")
            await asyncio.sleep(self.dice.random() * 2)
            await self._ask("POST", f"/v1/webhooks/{paused.endpoint}/resume")

    async def verdict(self) -> Verdict:
        """Wait until every delivery has come to an end, and judge."""
        seen = self.stage.observer.tenants[self.tenant]
        done = await self.stage.observer.until(lambda: checker.complete(seen, self._targets), PATIENCE_S)
        hits = [hit for manners in self._manners for hit in manners.hits]
        verdict = checker.judge(seen, self._targets, hits, self.stage.windows, orderly=ORDERLY.issuperset(self._faults))
        if not done:
            verdict.broken.insert(0, f"not everything had come to an end after {PATIENCE_S:.0f} s")
        if done:
            verdict.broken += await self._shown()
        for target in [*self._targets, *self._unwatched]:
            await self._ask("DELETE", f"/v1/webhooks/{target.endpoint}")
        del self.stage.observer.tenants[self.tenant]
        return verdict

    async def _shown(self) -> list[str]:
        """Where the read model disagrees with Kafka, when it has had the time to read on."""
        seen = self.stage.observer.tenants[self.tenant]
        end = asyncio.get_running_loop().time() + PATIENCE_S
        while True:
            wrong = list(checker.shown(seen, self._targets, await self._rows()))
            if not wrong or asyncio.get_running_loop().time() > end:
                return wrong
            await asyncio.sleep(0.2)

    async def _rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        unwatched = {target.endpoint for target in self._unwatched}
        path: str | None = "/v1/deliveries?limit=100"
        while path:
            page = await self._ask("GET", path)
            rows += [row for row in page["data"] if row["endpoint"] not in unwatched]
            path = page["next_cursor"] and f"/v1/deliveries?limit=100&cursor={page['next_cursor']}"
        return rows

    def event(self, event_id: str, kind: str, **more: Any) -> dict[str, Any]:
        """One of the round's tenant."""
        return {"type": kind, "id": event_id, "tenant": self.tenant, "data": {}, **more}

    async def endpoint(
        self,
        name: str,
        *,
        types: frozenset[str] = frozenset(),
        fifo: bool = False,
        timeout: float = 0.7,
        schedule: Sequence[float] = SCHEDULE,
        url: str = "",
        watched: bool = True,
        more: Mapping[str, Any] | None = None,
        **manners: Any,
    ) -> Target:
        """One more, with `more` fields; `url`: not at our receiver.

        Nobody asks what becomes of it where it is not `watched`.
        """
        path = f"/{self.tenant}/{name}"
        body = {
            "url": url or self.stage.receiver.url(path),
            "events": sorted(types) or ["order.*"],
            "timeout": timeout,
            "schedule": list(schedule),
            "ordering": "fifo" if fifo else "none",
            "on_exhausted": "skip",
            **(more or {}),
        }
        made = await self._ask("POST", "/v1/webhooks", body)
        behaves = Manners(secret=made["secret"], seed=self._seed, **manners)
        self.stage.receiver.expect(path, behaves)
        target = Target(made["id"], path, types, fifo=fifo, attempts=len(schedule), dead=behaves.dead)
        if watched:
            self._manners.append(behaves)
            self._targets.append(target)
        else:
            self._unwatched.append(target)
        return target

    async def _ask(self, method: str, path: str, body: Any = None, *, operator: bool = False) -> Any:
        """Ask the API until it answers; a repetition carries the same Idempotency-Key."""
        headers = {"idempotency-key": str(UUID(int=self._ids.getrandbits(128)))}
        said = ""
        for _ in range(LOOKS):  # the broker may be away for a minute
            try:
                answer = await self._api.ask(method, path, body, key="" if operator else self._key, headers=headers)
            except (ClientError, OSError, TimeoutError, ValueError) as error:
                said = repr(error)
            else:
                if answer.status < 400 or (method == "DELETE" and answer.status == 404):
                    return answer.body
                said = str(answer)
                if answer.status == 409 and path == "/v1/tenants":
                    return answer.body  # an earlier request of ours has come through
                if answer.status < 500 and answer.status not in (409, 429):
                    raise AssertionError(f"{method} {path}: {said}")
            await asyncio.sleep(0.2)
        raise AssertionError(f"{method} {path}: no good answer within minutes; the last was {said}")
