"""docs/receivers.md lists the outcomes of the code."""

from __future__ import annotations

from tests.architecture import outcomes_doc


def test_the_document_agrees_with_the_code() -> None:
    assert outcomes_doc.SECTION.read() == outcomes_doc.generated(), "run: make generate"
