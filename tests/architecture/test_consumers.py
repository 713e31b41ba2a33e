"""Every consumer is made in one place, so that none reads what a transaction has aborted."""

from __future__ import annotations

import ast
from pathlib import Path

APP = Path(__file__).parents[2] / "app"
HOME = APP / "adapters" / "kafka" / "clients.py"


def calls(path: Path) -> bool:
    """Whether the file constructs aiokafka's consumer."""
    return any(
        isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "AIOKafkaConsumer"
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
    )


def test_consumers_are_made_in_one_place() -> None:
    assert [path.name for path in sorted(APP.rglob("*.py")) if calls(path)] == [HOME.name]
