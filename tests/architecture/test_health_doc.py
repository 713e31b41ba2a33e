"""docs/health.md draws the state machine of the code."""

from __future__ import annotations

from app.roles.health.transitions import TRANSITIONS
from tests.architecture import health_doc


def test_the_document_agrees_with_the_code() -> None:
    assert health_doc.SECTION.read() == health_doc.generated(), "run: make generate"


def test_the_machine_has_one_answer_for_each_stage_and_trigger() -> None:
    named = [(stage, each.trigger) for each in TRANSITIONS for stage in each.stages]
    assert len(named) == len(set(named))
