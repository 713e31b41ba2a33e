"""All inputs of an installation: which one reads a topic, and what its consumer group subscribes to."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from functools import lru_cache

from app.core.errors import ConfigError
from app.core.inputs.declaration import InputDeclaration
from app.core.inputs.mapping import CompiledInput, EventLimits


class Inputs:
    """The inputs, in the order of the file. Hookstream's own topics belong to none."""

    def __init__(self, declared: Iterable[InputDeclaration], limits: EventLimits, own_topics: Collection[str]) -> None:
        """Raises `ConfigError` where an input names a topic of Hookstream's own."""
        self.compiled = tuple(CompiledInput(each, limits) for each in declared)
        self._own = frozenset(own_topics)
        problems = [
            f"input {each.name}: {topic} is a topic of Hookstream's own"
            for each in self.compiled
            for topic in each.declared.topics
            if topic in self._own
        ]
        if problems:
            raise ConfigError(problems)
        self.of = lru_cache(maxsize=1000)(self._find)

    def _find(self, topic: str) -> CompiledInput | None:
        """The input that reads a topic: one that names it, else the first one whose pattern matches."""
        if topic in self._own:
            return None
        readers = [each for each in self.compiled if each.reads(topic)]
        named = [each for each in readers if topic in each.declared.topics]
        return next(iter(named or readers), None)

    def named(self, name: str) -> CompiledInput:
        """The input of that name. Raises `ConfigError`."""
        for each in self.compiled:
            if each.name == name:
                return each
        raise ConfigError([f"there is no input {name}: one of {', '.join(each.name for each in self.compiled)}"])

    def needing_schemas(self) -> tuple[str, ...]:
        """The names of the inputs whose records are encoded with schemas."""
        return tuple(each.name for each in self.compiled if each.needs_schemas)

    def topics(self) -> tuple[str, ...]:
        """The topics that inputs name, sorted."""
        return tuple(sorted({topic for each in self.compiled for topic in each.declared.topics}))

    def prefixes(self) -> tuple[str, ...]:
        """The literal prefixes of the names that patterns match, sorted; an empty one covers every topic."""
        return tuple(
            sorted({each.declared.literal_prefix() for each in self.compiled if each.declared.pattern is not None})
        )

    def subscription(self) -> str:
        """A regular expression for the whole names of all topics that inputs read, without Hookstream's own."""
        wanted = [re.escape(topic) for topic in self.topics()]
        wanted += [f"(?:{each.declared.pattern})" for each in self.compiled if each.declared.pattern is not None]
        own = "|".join(re.escape(topic) for topic in sorted(self._own))
        return rf"(?!(?:{own})\Z)(?:{'|'.join(wanted)})\Z"

    def unmatched(self, existing: Collection[str]) -> list[str]:
        """A sentence for each named topic that does not exist, and each pattern that matches none."""
        there = set(existing)
        sentences = [
            f"input {each.name}: topic {topic} does not exist, or Kafka hides it from this user"
            for each in self.compiled
            for topic in each.declared.topics
            if topic not in there
        ]
        return sentences + [
            f"input {each.name}: no topic matches {each.declared.pattern}, or Kafka hides them from this user"
            for each in self.compiled
            if each.declared.pattern is not None and not any(self.of(topic) is each for topic in there)
        ]
