"""docs/health.md draws the machine that runs."""

from __future__ import annotations

from app.roles.health.transitions import TRANSITIONS
from tests.architecture.health_doc import generated, written


def test_the_document_is_what_the_table_gives() -> None:
    assert written() == generated(), "run: .venv/bin/python -m tests.architecture.health_doc"


def test_the_machine_has_one_answer_for_each_stage_and_sight() -> None:
    named = [(stage, each.sight) for each in TRANSITIONS for stage in each.stages]
    assert len(named) == len(set(named))
