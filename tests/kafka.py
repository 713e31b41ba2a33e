"""Clients of the broker of a test."""

from __future__ import annotations

import asyncio

from aiokafka.protocol.admin import CreateAclsRequest, DescribeAclsRequest

from app.adapters.kafka.clients import KafkaClients
from app.core.kafka_connection import KafkaConnection
from tests.patience import PATIENCE_S


def clients_at(bootstrap: str) -> KafkaClients:
    """Clients without encryption and authentication."""
    return KafkaClients(KafkaConnection(bootstrap=bootstrap))


async def refuse(clients: KafkaClients, resource: str, name: str, operation: str) -> None:
    """Refuse everybody one operation on a resource of a broker with an authorizer; the others are allowed.

    Returns when the broker refuses it, so that a test need not wait.
    """
    client = clients.metadata_client("tests")
    await client.bootstrap()
    try:
        (broker, *_) = client.cluster.brokers()
        kind, number = _RESOURCES[resource], _OPERATIONS[operation]
        for each, permission in ((_OPERATIONS["all"], _ALLOW), (number, _DENY)):
            request = CreateAclsRequest(kind, name, _LITERAL, "User:*", "*", each, permission)
            answer = await client.send(broker.nodeId, request)
            ((code, text),) = (entry[:2] for entry in answer.creation_responses)
            assert code == 0, text
        async with asyncio.timeout(PATIENCE_S):  # the broker is a moment behind the controller
            refusal = DescribeAclsRequest(kind, name, _LITERAL, "User:*", "*", number, _DENY)
            while not (await client.send(broker.nodeId, refusal)).resources:
                await asyncio.sleep(0.05)
    finally:
        await client.close()


#: numbers of Kafka's protocol
_RESOURCES = {"topic": 2, "group": 3, "transactional-id": 5}
_OPERATIONS = {"all": 2, "read": 3, "write": 4, "describe": 8}
_LITERAL, _DENY, _ALLOW = 3, 2, 3
