"""Upstream services that write within transactions, abort some of them, and die in others."""

from __future__ import annotations

import asyncio
import contextlib
import json
from random import Random

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from tests.faults.cluster import Cluster

_TRANSACTIONS = 40
_EVENTS = 5
#: a transaction whose producer has died blocks its partitions for so long, and until the broker looks (10 s)
_TIMEOUT_MS = 3000


async def transactional_producers(cluster: Cluster, dice: Random) -> None:
    """Two upstream services: a third of their transactions is aborted, and some of these are tried again."""
    await asyncio.gather(*(_service(cluster, Random(dice.random()), number) for number in range(2)))


async def _service(cluster: Cluster, dice: Random, number: int) -> None:
    name = f"{cluster.tenant}-service{number}-{dice.getrandbits(32):x}"
    client = AIOKafkaProducer(
        bootstrap_servers=cluster.direct, transactional_id=name, transaction_timeout_ms=_TIMEOUT_MS
    )
    await client.start()
    try:
        for turn in range(_TRANSACTIONS):
            ids = [f"{name}-{turn}-{serial}" for serial in range(_EVENTS)]
            if dice.random() < 0.33:
                await _transaction(cluster, client, dice, [*ids, f"{name}-{turn}-given-up"], commit=False)
                if dice.random() < 0.5:
                    continue
            await _transaction(cluster, client, dice, ids, commit=True)
        await client.begin_transaction()  # and then it dies
        await _write(cluster, client, dice, [f"{name}-never"])
    except KafkaError:
        pass  # whatever of it was committed, the observer sees
    finally:
        with contextlib.suppress(KafkaError):
            await client.stop()


async def _transaction(
    cluster: Cluster, client: AIOKafkaProducer, dice: Random, ids: list[str], *, commit: bool
) -> None:
    await client.begin_transaction()
    await _write(cluster, client, dice, ids)
    await (client.commit_transaction() if commit else client.abort_transaction())


async def _write(cluster: Cluster, client: AIOKafkaProducer, dice: Random, ids: list[str]) -> None:
    """Events that every endpoint of the round subscribes to; acknowledged, so that only the marker is missing."""
    for id_ in ids:
        key = f"{cluster.tenant}-k{dice.randrange(12)}"
        event = {"type": "order.changed", "id": id_, "tenant": cluster.tenant, "ordering_key": key, "data": {}}
        await client.send_and_wait(f"{cluster.prefix}events.raw", json.dumps(event).encode(), key=key.encode())
