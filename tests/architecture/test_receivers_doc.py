"""docs/receivers.md and docs/signatures.md show the code that the tests run."""

from __future__ import annotations

from tests.architecture import receivers_doc, signatures_doc


def test_the_documents_agree_with_the_code() -> None:
    assert receivers_doc.SECTION.read() == receivers_doc.generated(), "run: make generate"
    assert signatures_doc.SECTION.read() == signatures_doc.generated(), "run: make generate"


def test_the_inboxes_import_the_code_of_the_document() -> None:
    assert len(receivers_doc.FILES) == 2
    for path, code in receivers_doc.FILES.items():
        assert path.read_text("utf-8") == code, "run: make generate"
