"""Read a Dockerfile: its stages and their instructions, as far as ours uses the language."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

_INSTRUCTIONS = frozenset(
    {"ARG", "FROM", "WORKDIR", "ENV", "COPY", "RUN", "USER", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "CMD"}
)


class Instruction(NamedTuple):
    """One instruction: its word, and the rest of its lines."""

    word: str
    rest: str


class Stage(NamedTuple):
    """A stage: what it begins from, its name, and its instructions."""

    base: str
    name: str
    instructions: tuple[Instruction, ...]


def instructions(text: str) -> Iterator[Instruction]:
    """The instructions of a Dockerfile; raises `ValueError` for one that is not understood here."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    for line in joined.splitlines():
        word, rest = line.split(None, 1)
        if word not in _INSTRUCTIONS:
            raise ValueError(f"Dockerfile: {word} is not understood")
        yield Instruction(word, rest.strip())


def stages(text: str) -> list[Stage]:
    """The stages of a Dockerfile; arguments before the first stage have their defaults."""
    arguments: dict[str, str] = {}
    found: list[tuple[str, str, list[Instruction]]] = []
    for each in instructions(text):
        if each.word == "FROM":
            base, _, name = each.rest.partition(" AS ")
            found.append((expanded(base, arguments), name.strip(), []))
        elif found:
            found[-1][2].append(each)
        else:
            name, _, default = each.rest.partition("=")
            arguments[name] = default
    return [Stage(base, name, tuple(parts)) for base, name, parts in found]


def expanded(text: str, variables: Mapping[str, str]) -> str:
    """A text with `$NAME` and `${NAME}` replaced."""
    return re.sub(r"\$\{?(\w+)\}?", lambda match: variables[match[1]], text)


def assignments(rest: str) -> list[tuple[str, str]]:
    """The names and values of ENV."""
    return [(name, value) for name, _, value in (word.partition("=") for word in rest.split())]


def words(rest: str) -> list[str]:
    """The words of an instruction in JSON's form."""
    found = json.loads(rest)
    return [str(word) for word in found]


def last(stage: Stage, word: str) -> str:
    """What the stage's last instruction of this word says."""
    return [each.rest for each in stage.instructions if each.word == word][-1]


def health_command(stage: Stage) -> list[str]:
    """The command of HEALTHCHECK."""
    return words(last(stage, "HEALTHCHECK").partition(" CMD ")[2])
