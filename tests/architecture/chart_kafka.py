"""Write the topics and the rights of the roles into helm/hookstream/files/kafka.json, for Strimzi's resources."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from app.runtime.rights import Right, rights_of
from app.runtime.roles import ROLES
from app.runtime.topics import topics_of
from app.settings import Settings

FILE = Path(__file__).parents[2] / "helm" / "hookstream" / "files" / "kafka.json"
#: the settings that the templates apply themselves
_APPLIED = "min.insync.replicas"
_RESOURCES = {"topic": "topic", "group": "group", "transactional_id": "transactionalId", "cluster": "cluster"}


def generated() -> str:
    """The topics by logical name, and the rights by role; `all` has those of every role."""
    topics = topics_of(Settings())
    declared = {
        spec.logical: {
            "partitions": spec.partitions,
            "family": bool(spec.family),
            "config": {name: value for name, value in spec.config.items() if name != _APPLIED},
        }
        for spec in topics.specs
    }
    rights = {name: each.rights() for name, each in rights_of(topics, "").items() if name in ROLES}
    together: dict[tuple[str, str, str], list[str]] = {}
    for right in (right for each in rights.values() for right in each):
        operations = together.setdefault((right.resource, right.name, right.pattern), [])
        operations += [each for each in right.operations if each not in operations]
    content = {
        "topics": declared,
        "rights": {name: [_right(right) for right in each] for name, each in rights.items()}
        | {"all": [_named(*resource, operations) for resource, operations in sorted(together.items())]},
    }
    return json.dumps(content, indent=1) + "\n"


def main() -> None:
    """Write the file."""
    FILE.write_text(generated(), encoding="utf-8")


def _right(right: Right) -> dict[str, Any]:
    return _named(right.resource, right.name, right.pattern, list(right.operations))


def _named(resource: str, name: str, pattern: str, operations: list[str]) -> dict[str, Any]:
    shown = {"resource": _RESOURCES[resource], "name": name, "operations": operations}
    return shown | ({"pattern": "prefix"} if pattern == "prefixed" else {})


if __name__ == "__main__":
    main()
