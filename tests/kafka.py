"""Clients of the broker of a test."""

from __future__ import annotations

from app.adapters.kafka.clients import KafkaClients
from app.core.kafka_connection import KafkaConnection


def clients_at(bootstrap: str) -> KafkaClients:
    """Clients without encryption and authentication."""
    return KafkaClients(KafkaConnection(bootstrap=bootstrap))
