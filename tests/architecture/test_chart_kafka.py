"""The chart's topics and rights are those of the code."""

from __future__ import annotations

from tests.architecture import chart_kafka


def test_the_file_is_up_to_date() -> None:
    assert chart_kafka.FILE.read_text(encoding="utf-8") == chart_kafka.generated(), "run: make generate"
