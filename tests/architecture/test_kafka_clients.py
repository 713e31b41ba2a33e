"""Every Kafka client is constructed in one file, so that all have the same security and read committed records only."""

from __future__ import annotations

import ast
from pathlib import Path

APP = Path(__file__).parents[2] / "app"
HOME = APP / "adapters" / "kafka" / "clients.py"
CLASSES = {"AIOKafkaConsumer", "AIOKafkaProducer", "AIOKafkaAdminClient", "AIOKafkaClient"}
#: for annotations outside of that file
ALIASES = {"AioConsumer", "AioProducer", "AioAdmin", "AioClient"}


def constructs_a_client(path: Path) -> bool:
    """Whether the file calls one of aiokafka's client classes."""
    return any(
        isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in CLASSES | ALIASES
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
    )


def test_kafka_clients_are_constructed_in_one_file() -> None:
    assert [path.name for path in sorted(APP.rglob("*.py")) if constructs_a_client(path)] == [HOME.name]
