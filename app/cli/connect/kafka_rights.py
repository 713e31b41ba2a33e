"""Whether Kafka grants a command what it needs, asked before it begins.

Without a right a client sees no topic, waits for its offsets in vain, or fails half-way. Asked first, Kafka names all
that is missing at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from app.core.errors import AccessDenied

if TYPE_CHECKING:
    from app.adapters.kafka.clients import KafkaClients
    from app.core.rights import KafkaRight


async def require(
    clients: KafkaClients,
    *,
    reads: Collection[str] = (),
    writes: Collection[str] = (),
    shows: Collection[str] = (),
    compares: Collection[str] = (),
    shows_groups: Collection[str] = (),
    joins_groups: Collection[str] = (),
    transactional_ids: Collection[str] = (),
) -> None:
    """Raise `AccessDenied` unless topics may be read, written, shown and compared, groups shown and joined, ids used.

    Nothing is changed. Raises `Unavailable` where Kafka does not answer.
    """
    from app.adapters.kafka.rights import surely_refused
    from app.core.rights import command_refusal

    rights = [
        *_each("topic", "Read", reads),
        *_each("topic", "Write", writes),
        *_each("topic", "Describe", {*shows, *compares}),
        *_each("topic", "DescribeConfigs", compares),
        *_each("group", "Describe", shows_groups),
        *_each("group", "Read", joins_groups),
        *_each("transactional-id", "Write", transactional_ids),
    ]
    client = clients.metadata_client("hookstream-cli")
    try:
        async with clients.connecting():
            await client.bootstrap()
        with clients.reachable():
            missing = await surely_refused(client, rights)
    finally:
        await client.close()
    if missing:
        raise AccessDenied(command_refusal(clients.user, missing))


def _each(resource: str, operation: str, names: Collection[str]) -> Iterator[KafkaRight]:
    from app.core.rights import KafkaRight

    for name in names:
        yield KafkaRight(resource=resource, name=name, operation=operation)
