"""Write the settings that the chart's values may name into helm/hookstream/values.schema.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_type_hints

from app.core.secret_text import SecretText
from app.settings import Settings
from tests.architecture.settings_doc import settings

FILE = Path(__file__).parents[2] / "helm" / "hookstream" / "values.schema.json"
#: settings that the templates derive from other values
MANAGED = frozenset(
    {
        "ADMIN_TOKEN",
        "API_HOST",
        "API_PORT",
        "BOOTSTRAP_SERVERS",
        "CACHE_DIR",
        "DATABASE_URL",
        "DATA_DIR",
        "EGRESS_ALLOW",
        "INSTANCE_ID",
        "KAFKA_CA_FILE",
        "KAFKA_CERT_FILE",
        "KAFKA_KEY_FILE",
        "KAFKA_PORT",
        "KAFKA_SASL_MECHANISM",
        "KAFKA_SECURITY",
        "KAFKA_USERNAME",
        "MAIL_FROM",
        "METRICS_PORT",
        "PARTITIONS",
        "PUBLIC_URL",
        "REPLICATION_FACTOR",
        "SECRET_KEYS",
        "SMTP_URL",
        "STOP_SECONDS",
        "TOPIC_PREFIX",
    }
)


def generated() -> str:
    """The schema with the present settings."""
    schema: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    schema["$defs"]["settings"]["properties"] = {
        name: {"type": "string", "description": sentence} for name, sentence in _free()
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the file."""
    FILE.write_text(generated(), encoding="utf-8")


def secrets() -> set[str]:
    """Settings whose values are secret: they are given in a Secret alone."""
    return {name.upper() for name, hint in get_type_hints(Settings).items() if hint == SecretText | None}


def _free() -> list[tuple[str, str]]:
    named = [(variable.removeprefix("HOOKSTREAM_"), sentence) for variable, _, sentence in settings()]
    return [(name, sentence) for name, sentence in named if name not in MANAGED | secrets()]


if __name__ == "__main__":
    main()
