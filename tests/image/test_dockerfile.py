"""The Dockerfile is one that `make image` can build."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.image.builder import sent
from tests.image.dockerfile import assignments, expanded, health_command, last, stages, words

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_every_instruction_is_understood_and_what_is_copied_exists() -> None:
    build, image = stages(TEXT)
    assert (build.name, image.name) == ("build", "") and build.base == image.base
    for instruction in build.instructions:
        if instruction.word == "COPY":
            *sources, _ = instruction.rest.split()
            assert all((ROOT / each).exists() and sent(ROOT, each) for each in sources)
    assert [each.rest for each in image.instructions if each.word == "COPY"] == [
        "--from=build /opt/hookstream /opt/hookstream"
    ]


def test_the_base_is_pinned_by_its_digest() -> None:
    base, _ = stages(TEXT)
    assert re.fullmatch(r"python:3\.11-slim-bookworm@sha256:[0-9a-f]{64}", base.base)


def test_the_image_starts_with_words_that_need_no_shell() -> None:
    _, image = stages(TEXT)
    assert words(last(image, "ENTRYPOINT")) == ["tini", "--", "hookstream"]
    assert words(last(image, "CMD")) == ["--help"]
    assert health_command(image)[0] == "python"


def test_lines_are_joined_and_comments_left_out() -> None:
    (stage,) = stages("# a\nARG B=c:1\nFROM ${B} AS d\nRUN e \\\n    # f\n    && g\n")
    assert stage.base == "c:1" and stage.name == "d"
    assert [each.rest.split() for each in stage.instructions] == [["e", "&&", "g"]]


def test_an_unknown_instruction_is_named() -> None:
    with pytest.raises(ValueError, match="ONBUILD is not understood"):
        stages("FROM a\nONBUILD RUN b\n")


def test_variables_are_replaced_by_their_values() -> None:
    assert expanded("/a:$PATH:${B}", {"PATH": "/p", "B": "c"}) == "/a:/p:c"
    assert assignments("A=1  B=x=y") == [("A", "1"), ("B", "x=y")]


def test_what_dockerignore_leaves_out_is_not_sent() -> None:
    assert sent(ROOT, "app") and not sent(ROOT, "tests")
