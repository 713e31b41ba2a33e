"""Which differences between topics and their declarations endanger a guarantee, and so refuse the start."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from app.core.topics.declarations import Topics, TopicSpec
from app.core.topics.drift import ActualTopic, ConfigureTopic, plan
from app.core.topics.names import TopicName

_SHOWN = 5
#: changelogs of version 0, whose topics this version cannot read
_VERSION_0 = ("hookstream.sequencer-line-changelog", "hookstream.sequencer-held-changelog")
#: setting → the consequence of a difference
_DANGERS = {
    "cleanup.policy": "Kafka would remove records that are still needed",
    "max.message.bytes": "records that were accepted would not fit",
    "message.timestamp.type": "waiting times would follow the producers' clocks",
    "retention.ms": "Kafka would remove records that still wait",
}
#: settings of which only a smaller value is dangerous
_AT_LEAST = {"max.message.bytes", "retention.ms"}


class Judgement(NamedTuple):
    """One sentence for each difference."""

    #: these refuse the start; each names its remedy
    dangers: list[str]
    #: these are logged
    harmless: list[str]


def version_0_names(topics: Topics) -> list[str]:
    """The physical names of the topics that only version 0 had."""
    prefix = topics.name(TopicName.REGISTRY).removesuffix(TopicName.REGISTRY)
    return [prefix + name for name in _VERSION_0]


def version_0_refusal(remaining: Sequence[str]) -> str:
    """Why nothing may start while these topics of version 0 exist, and the remedy."""
    return (
        f"Version 0 has written these topics ({', '.join(remaining)} exist), and this version cannot read them: its "
        "record formats have other names. Follow docs/upgrading.md: drain with version 0, then delete all topics of "
        "Hookstream and its data folder, or choose another HOOKSTREAM_TOPIC_PREFIX."
    )


def judge(topics: Topics, actual: Mapping[str, ActualTopic]) -> Judgement:
    """Judge the differences between `actual` and the declarations; missing topics are ignored."""
    dangers = [*_families(topics, actual), *_fixed(topics, actual)]
    harmless: list[str] = []
    named = " ".join(dangers)
    for step in plan(topics, actual):
        if step.spec.name not in actual or f"{step.spec.name} has" in named:
            continue
        risky = (
            {name: each for name, each in step.changes.items() if _is_dangerous(step.spec, name, *each)}
            if (isinstance(step, ConfigureTopic))
            else {}
        )
        dangers += [
            f"{step.spec.name}: {name} is {was or 'unset'} instead of {wanted}: {_DANGERS[name]}. "
            "`hookstream topics apply` sets it."
            for name, (was, wanted) in sorted(risky.items())
        ]
        if not risky:
            harmless.append(step.sentence())
    return Judgement(dangers, harmless)


def _families(topics: Topics, actual: Mapping[str, ActualTopic]) -> list[str]:
    members: dict[str, list[TopicSpec]] = defaultdict(list)
    for spec in topics.specs:
        if spec.family and spec.name in actual:
            members[spec.family].append(spec)
    problems = []
    for family, specs in sorted(members.items()):
        counts = Counter(actual[spec.name].partitions for spec in specs)
        usual = max(counts, key=lambda count: (counts[count], count == specs[0].partitions))
        odd = [spec.name for spec in specs if actual[spec.name].partitions != usual]
        if odd:
            shown = ", ".join(f"{name} has {actual[name].partitions}" for name in odd[:_SHOWN])
            more = f" and {len(odd) - _SHOWN} more differ" if len(odd) > _SHOWN else ""
            problems.append(
                f"The topics of the family `{family}` must have equal partition counts: {shown}{more}, the other "
                f"{len(specs) - len(odd)} have {usual}. {_remedy(odd)}"
            )
    return problems


def _fixed(topics: Topics, actual: Mapping[str, ActualTopic]) -> list[str]:
    return [
        f"{spec.name} has {actual[spec.name].partitions} partitions, and must have {spec.partitions}: its readers "
        f"rely on it. {_remedy([spec.name])}"
        for spec in topics.specs
        if not spec.family and spec.name in actual and actual[spec.name].partitions != spec.partitions
    ]


def _remedy(names: list[str]) -> str:
    listed = " ".join(f"--topic {name}" for name in names[:_SHOWN])
    return (
        "Kafka cannot remove partitions: stop all processes once these topics have been read to their ends, delete "
        f"them (`kafka-topics.sh --bootstrap-server … --delete {listed}`), and run `hookstream topics apply`; or start "
        "afresh with another HOOKSTREAM_TOPIC_PREFIX."
    )


def _is_dangerous(spec: TopicSpec, name: str, was: str, wanted: str) -> bool:
    if name not in _DANGERS:
        return False
    if name == "retention.ms" and not (
        spec.logical.startswith(f"{TopicName.DELIVERIES_DELAY}.") or spec.logical.endswith("-changelog")
    ):
        return False  # the retention of other topics is the operator's choice
    return name not in _AT_LEAST or _is_less(was, wanted)


def _is_less(was: str, wanted: str) -> bool:
    try:
        return 0 <= float(was) < float(wanted)
    except ValueError:
        return True
