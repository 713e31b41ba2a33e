"""Write the settings that the chart's values may name, and the types of Kubernetes, into its values.schema.json."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_type_hints

import kubernetes_validate
import msgspec

from app.core.inputs.declaration import MAX_INPUTS, InputDeclaration
from app.core.secret_text import SecretText
from app.settings import Settings
from tests.architecture.settings_doc import settings

FILE = Path(__file__).parents[2] / "helm" / "hookstream" / "values.schema.json"
#: whose fields extraVolumes, affinity, resources and others may have
KUBERNETES = "1.37.0"
#: the JSON schemas of these types
TYPES = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema" / f"v{KUBERNETES}-local-strict"
_REFERENCE = re.compile(r'"#/\$defs/(io\.k8s\.[\w.-]+)"')
NAMES = FILE.parent / "files" / "settings.json"
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
        "INPUTS",
        "INSTANCE_ID",
        "KAFKA_AWS_REGION",
        "KAFKA_CA_FILE",
        "KAFKA_CERT_FILE",
        "KAFKA_KEY_FILE",
        "KAFKA_OAUTH_CA_FILE",
        "KAFKA_OAUTH_CLIENT_ID",
        "KAFKA_OAUTH_EXTENSIONS",
        "KAFKA_OAUTH_SCOPE",
        "KAFKA_OAUTH_TOKEN_FILE",
        "KAFKA_OAUTH_TOKEN_URL",
        "KAFKA_PORT",
        "KAFKA_SASL_MECHANISM",
        "KAFKA_SECURITY",
        "KAFKA_USERNAME",
        "MAIL_FROM",
        "METRICS_PORT",
        "PARTITIONS",
        "PUBLIC_URL",
        "REPLICATION_FACTOR",
        "SCHEMA_REGISTRY_CA_FILE",
        "SCHEMA_REGISTRY_URL",
        "SCHEMA_REGISTRY_USERNAME",
        "SECRET_KEYS",
        "SMTP_URL",
        "STOP_SECONDS",
        "TOPIC_PREFIX",
    }
)


def generated() -> str:
    """The schema with the present settings, and with the types of Kubernetes that it refers to."""
    schema: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    schema["$defs"]["settings"]["properties"] = {
        name: {"type": "string", "description": sentence} for name, sentence in _free()
    }
    _, declared = msgspec.json.schema_components([InputDeclaration], ref_template="#/$defs/{name}")
    schema["$defs"] |= declared
    schema["properties"]["inputs"] = {
        "type": "array",
        "maxItems": MAX_INPUTS,
        "items": {"$ref": "#/$defs/InputDeclaration"},
    }
    own = {name: part for name, part in schema["$defs"].items() if not name.startswith("io.k8s.")}
    schema["$defs"] = own | _of_kubernetes(json.dumps({**schema, "$defs": own}))
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def names() -> str:
    """The names of all settings: the templates refuse variables of `extraEnv` that look like one and are none."""
    return json.dumps([variable.removeprefix("HOOKSTREAM_") for variable, _, _ in settings()], indent=1) + "\n"


def main() -> None:
    """Write the files."""
    FILE.write_text(generated(), encoding="utf-8")
    NAMES.write_text(names(), encoding="utf-8")


def secrets() -> set[str]:
    """Settings whose values are secret: they are given in a Secret alone."""
    return {name.upper() for name, hint in get_type_hints(Settings).items() if hint == SecretText | None}


def _of_kubernetes(text: str) -> dict[str, Any]:
    """The types to which a schema refers, and to which these refer."""
    declared = json.loads((TYPES / "_definitions.json").read_text(encoding="utf-8"))["$defs"]
    types: dict[str, Any] = {}
    missing = set(_REFERENCE.findall(text))
    while missing:
        types |= {name: _bare(declared[name]) for name in missing}
        missing = set(_REFERENCE.findall(json.dumps(types))) - set(types)
    return dict(sorted(types.items()))


def _bare(part: Any) -> Any:
    """A schema without its descriptions and notes."""
    if isinstance(part, list):
        return [_bare(each) for each in part]
    if not isinstance(part, dict):
        return part
    return {
        name: _bare(each)
        for name, each in part.items()
        if not name.startswith("x-kubernetes-") and not (name == "description" and isinstance(each, str))
    }


def _free() -> list[tuple[str, str]]:
    named = [(variable.removeprefix("HOOKSTREAM_"), sentence) for variable, _, sentence in settings()]
    return [(name, sentence) for name, sentence in named if name not in MANAGED | secrets()]


if __name__ == "__main__":
    main()
