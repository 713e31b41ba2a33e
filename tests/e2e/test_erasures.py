"""After an erasure no topic that Hookstream writes, and no file of its data, yields what it wrote about the subject."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

from aiohttp import web
from aiokafka import AIOKafkaConsumer, TopicPartition
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.conftest import RealBroker
from tests.e2e.harness import Service, inbox, pause, producer, service
from tests.patience import PATIENCE_S
from tests.ports import free_port

#: in `data` of the events, and nowhere else
PLANTED = "Ada Lovelace, St James's Square"
SUBJECT = "Ада 漢字 🙂 4711"
Records = dict[str, list[Any]]


async def everything(running: Service) -> Records:
    """The records of each topic of the service, by its name without the prefix."""
    client = AIOKafkaConsumer(bootstrap_servers=running.bootstrap, auto_offset_reset="earliest", group_id=None)
    await client.start()
    try:
        metadata = await client._client.fetch_all_metadata()
        topics = [each for each in metadata.topics() if each.startswith(running.prefix)]
        places = [TopicPartition(each, number) for each in topics for number in metadata.partitions_for_topic(each)]
        client.assign(places)
        ends = await client.end_offsets(places)
        read: Records = {each.removeprefix(running.prefix): [] for each in topics}
        async with asyncio.timeout(PATIENCE_S):
            while any([await client.position(place) < end for place, end in ends.items()]):
                for place, records in (await client.getmany(timeout_ms=300)).items():
                    read[place.topic.removeprefix(running.prefix)] += records
        return read
    finally:
        await client.stop()


def those_with(records: Records, text: str) -> set[str]:
    """The topics of which a record has the text."""
    wanted = (text.encode(), json.dumps(text)[1:-1].encode())

    def has(record: Any) -> bool:
        texts = (record.key or b"", record.value or b"", *(value or b"" for _, value in record.headers))
        return any(each in part for part in texts for each in wanted)

    return {topic for topic, those in records.items() if any(map(has, those))}


def opened(records: Records) -> set[bytes]:
    """What can be opened of the sealed bodies, with the key ring and the registry's latest records: this program's own
    reading of docs/erasure.md.
    """
    ring = AESGCM(b"0123456789abcdef0123456789abcdef")
    parts: dict[str, dict[tuple[int, int], bytes]] = {}
    for record in records["registry"]:
        name = record.key.decode().removeprefix("subject-keys/")
        if record.key.startswith(b"subject-keys/") and name != "salt":
            blob = base64.b64decode(json.loads(record.value)["sealed"]["blob"])
            packed = base64.b64decode(ring.decrypt(blob[:12], blob[12:], record.key))
            cut = [packed[begin : begin + 22] for begin in range(0, len(packed), 22)]
            parts[name] = {(node[0], int.from_bytes(node[1:6], "big")): node[6:] for node in cut}
    found = set()
    for those in records.values():
        for record in those:
            headers = dict(record.headers)
            if "sealed" in headers:
                seed = _seed(parts, int(headers["sealed"], 16))
                if seed is not None:
                    key = hashlib.blake2b(b"data key", key=seed, digest_size=32).digest()
                    bound = b"\0".join(headers[each] for each in ("tenant", "mode", "event-id"))
                    found.add(AESGCM(key).decrypt(record.value[:12], record.value[12:], bound))
    return found


def _seed(parts: dict[str, dict[tuple[int, int], bytes]], leaf: int) -> bytes | None:
    bits = f"{leaf:048b}"
    branch = parts.get(f"{int(bits[:12], 2):03x}")
    for nodes, path in ((branch, bits[12:]), (parts["root"], bits)):
        for length in range(len(path) + 1 if nodes else 0):
            assert nodes is not None
            seed = nodes.get((length, int(path[:length] or "0", 2)))
            if seed is not None:
                for bit in path[length:]:
                    seed = hashlib.blake2b(bytes([int(bit)]), key=seed, digest_size=16).digest()
                return seed
        if branch is not None:
            return None
    return None


def database(folder: Path) -> str:
    """All rows of all tables of the SQLite files in a folder."""
    rows = []
    files = [each for each in folder.iterdir() if each.is_file() and each.read_bytes()[:15] == b"SQLite format 3"]
    assert files
    for file in files:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
            for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                rows += [repr(row) for row in connection.execute(f'SELECT * FROM "{table}"')]
    return "\n".join(rows)


@asynccontextmanager
async def echoing() -> AsyncIterator[tuple[str, list[str]]]:
    """A receiver that fails, and repeats what it got in its headers and its body."""
    bodies: list[str] = []

    async def fail(request: web.Request) -> web.Response:
        bodies.append(await request.text())
        return web.Response(
            status=500, text=bodies[-1], headers={"X-Echo": bodies[-1].encode("ascii", "replace").decode()}
        )

    application = web.Application()
    application.router.add_post("/hook", fail)
    runner = web.AppRunner(application)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}/hook", bodies
    finally:
        await runner.cleanup()


async def eventually(condition: Any) -> Any:
    """The first true result of an asynchronous condition."""
    async with asyncio.timeout(PATIENCE_S):
        while not (result := await condition()):
            await pause(0.1)
    return result


async def test_an_erasure_makes_what_was_written_unreadable(broker: RealBroker, prefix: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with (
        service(broker.bootstrap, prefix, data) as running,
        inbox() as (box, base),
        echoing() as (failing, echoed),
        producer(broker.bootstrap) as kafka,
    ):
        key = await running.key("acme")

        async def ask(method: str, path: str, body: Any = None, status: int = 200) -> Any:
            answer = await running.ask(method, path, body, key=key)
            assert answer.status == status, answer
            return answer.body

        async def endpoint(url: str, **fields: Any) -> str:
            made = await ask("POST", "/v1/webhooks", {"url": url, "events": "*", **fields}, 201)
            return str(made["id"])

        await endpoint(f"{base}/standard/open")
        late = await endpoint(failing, schedule=[0, 86_400])
        queue = await endpoint(failing + "?fifo", schedule=[0, 86_400], ordering="fifo")
        parked = await endpoint(f"{base}/standard/parked")
        await ask("POST", f"/v1/webhooks/{parked}/pause")
        schema = {"type": "object", "properties": {"n": {"type": "number"}}}
        await ask("PUT", "/v1/event-types/strict.one", {"schema": schema, "mode": "reject"})

        topic = f"{prefix}events.raw"
        event = {"type": "user.changed", "data": {"who": PLANTED}}
        posted = event | {"id": "posted", "subject": SUBJECT, "ordering_key": "k"}
        await ask("POST", "/v1/events", [posted, posted | {"id": "second"}], 202)
        native = json.dumps(event | {"id": "native", "tenant": "acme"}, ensure_ascii=False).encode()
        await kafka.send_and_wait(topic, native, key=b"acme", headers=[("subject", SUBJECT.encode())])
        cloud = {"specversion": "1.0", "source": "/s", "id": "cloud", "tenant": "acme", "datasubject": SUBJECT, **event}
        await kafka.send_and_wait(topic, json.dumps(cloud).encode(), key=b"acme")
        strict = {"type": "strict.one", "id": "strict", "data": {"n": PLANTED}, "subject": SUBJECT}
        await ask("POST", "/v1/events", strict, 202)
        other = event | {"id": "other", "data": {"who": "Charles"}, "subject": "charles"}
        await ask("POST", "/v1/events", other, 202)
        names = {"posted", "second", "native", "cloud", "other"}
        await box.until(lambda: set(box.ids("/standard/open")) == names)
        assert sum(PLANTED in each.body.decode() for each in box.received) == 4

        async def all_attempted() -> bool:
            retrying = (await ask("GET", f"/v1/webhooks/{late}/deliveries?state=retrying"))["data"]
            held = (await ask("GET", f"/v1/webhooks/{queue}/deliveries"))["data"]
            waiting = (await ask("GET", f"/v1/webhooks/{parked}/deliveries?state=paused"))["data"]
            rejected = (await ask("GET", "/v1/events?outcome=rejected"))["data"]
            if not rejected:
                return False
            return len(retrying) == len(waiting) == 5 and len([each for each in held if each["attempt_count"]]) == 4

        await eventually(all_attempted)
        assert sum(PLANTED in each for each in echoed) >= 7
        before = await everything(running)
        assert those_with(before, PLANTED) == {"events.raw"}, "everything else is sealed"
        assert PLANTED not in database(data)
        readable = opened(before)
        assert sum(PLANTED.encode() in each or json.dumps(PLANTED).encode() in each for each in readable) == 4

        key_file = tmp_path / "acme.key"
        key_file.write_text(key)
        named = ("--url", running.api_url, "--key-file", str(key_file), "-o", "json")
        done = await running.cli("erasures", "create", "-", "--yes", *named, stdin=f"{SUBJECT}\n".encode())
        assert done == await running.cli("erasures", "get", done["id"], *named)
        assert done["times"] == 1 and done == await ask("GET", f"/v1/erasures/{done['id']}")
        assert (await ask("GET", "/v1/erasures"))["data"] == [done]

        after = await everything(running)
        left = opened(after)
        assert [json.loads(each)["data"] for each in left] == [{"who": "Charles"}]
        assert those_with(after, SUBJECT) == {"events.raw"}, "an erasure does not name its subject"
        assert (await ask("GET", "/v1/events/posted"))["data"] is None
        for state in ("retrying", "paused"):
            (row, *_) = (await ask("GET", f"/v1/deliveries?state={state}&event=posted"))["data"]
            shown = await ask("GET", f"/v1/deliveries/{row['id']}")
            assert PLANTED not in json.dumps(shown, ensure_ascii=False)
        refused = await running.ask("POST", f"/v1/deliveries/{row['id']}/retry", key=key)
        assert refused.status == 409, refused

        await ask("POST", f"/v1/webhooks/{parked}/resume")

        async def resumed() -> bool:
            rows = (await ask("GET", f"/v1/webhooks/{parked}/deliveries?state=dead"))["data"]
            return len([each for each in rows if each["reason"] == "erased"]) == 4

        await eventually(resumed)
        again = await ask("POST", "/v1/replays", {"from": "begin", "to": "now"}, 202)
        replayed = await eventually(lambda: _ended(ask, again["id"]))
        assert replayed["state"] == "done"
        await ask("POST", "/v1/events", posted | {"id": "later", "data": {"who": "Ada"}}, 202)
        await box.until(lambda: "later" in box.ids("/standard/parked"))
        requests = [each for each in box.received if PLANTED in each.body.decode()]
        assert len(requests) == 4, "nothing was sent again"
        assert set(box.ids("/standard/parked")) >= {"other", "later"}

        # what a process writes after it: the replay, the resume, and the rows of all of it
        last = await everything(running)
        assert those_with(last, PLANTED) == {"events.raw"}
        assert {json.loads(each)["data"]["who"] for each in opened(last)} == {"Charles", "Ada"}
        rows = database(data)
        assert PLANTED not in rows and SUBJECT not in rows and "erased" in rows
    for file in (each for each in data.rglob("*") if each.is_file()):
        assert PLANTED.encode() not in file.read_bytes(), file


async def _ended(ask: Any, replay: str) -> Any:
    state = await ask("GET", f"/v1/replays/{replay}")
    return state if state["state"] in ("done", "cancelled") else None
