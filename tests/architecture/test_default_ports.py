"""Default ports are declared once; the documents, compose.yaml and the monitoring use the same ones."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from app.core import default_ports
from app.core.default_ports import DEFAULT_PORTS
from app.settings import load
from tests.architecture.test_documents import DOCUMENTS, ROOT, each_document

DECLARATION = ROOT / "app" / "core" / "default_ports.py"
#: how documents write an address, and whose port it has
ADDRESSES = {
    "metrics": re.compile(
        r"\b(?:HOST|fanout-1|dispatch-1|api-1):(\d{2,5})\b|`HOOKSTREAM_METRICS_PORT`[,|) ]+`?(\d{2,5})"
    ),
    "api": re.compile(r"`HOOKSTREAM_API_PORT`[,|) ]+`?(\d{2,5})"),
    "receiver": re.compile(r"hookstream receiver --port (\d+)|127\.0\.0\.1:(\d{2,5})/(?:standard|bota)\b"),
    "kafka": re.compile(r"(?:kafka-\d|BOOTSTRAP_SERVERS=localhost):(\d{2,5})"),
}


def numbers(path: Path) -> Iterator[str]:
    """The places where a file writes a default port as a number, also within a text such as `localhost:8080`."""
    ports = set(DEFAULT_PORTS.values())
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Constant):
            continue
        in_text = isinstance(node.value, str) and any(
            int(port) in ports for port in re.findall(r":(\d{4})\b", node.value)
        )
        if in_text or (type(node.value) is int and node.value in ports):
            yield f"{path.relative_to(ROOT)}:{node.lineno}"


def test_no_module_writes_a_default_port_as_a_number() -> None:
    modules = [*(ROOT / "app").rglob("*.py"), *(ROOT / "monitoring").rglob("*.py")]
    assert [place for path in modules if path != DECLARATION for place in numbers(path)] == []


def test_the_table_has_every_port() -> None:
    declared = {name.lower(): value for name, value in vars(default_ports).items() if isinstance(value, int)}
    assert declared == DEFAULT_PORTS


def test_the_settings_have_the_default_ports() -> None:
    settings = load({}, None)
    assert (settings.api_port, settings.metrics_port) == (DEFAULT_PORTS["api"], DEFAULT_PORTS["metrics"])


@each_document
def test_documents_use_the_default_ports(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    others = [
        f"{name}: {match[0]}"
        for name, pattern in ADDRESSES.items()
        for match in pattern.finditer(text)
        if int(next(filter(None, match.groups()))) != DEFAULT_PORTS[name]
    ]
    assert others == []


def test_the_documents_name_every_kind_of_address() -> None:
    texts = [path.read_text(encoding="utf-8") for path in DOCUMENTS]
    assert all(any(pattern.search(text) for text in texts) for pattern in ADDRESSES.values())


def test_compose_uses_the_default_ports() -> None:
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    services = yaml.safe_load(text)["services"]
    kafka, api = DEFAULT_PORTS["kafka"], DEFAULT_PORTS["api"]
    assert services["kafka"]["ports"] == [f"127.0.0.1:{kafka}:{kafka}"]
    assert f"HOST://localhost:{kafka}" in services["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"].split(",")
    assert f"127.0.0.1:{api}:{api}" in {port for each in services.values() for port in each.get("ports", ())}
    assert set(re.findall(r"@postgres:(\d+)/", text)) == {str(DEFAULT_PORTS["postgresql"])}


def test_the_containers_use_the_default_ports() -> None:
    compose, image = ((ROOT / name).read_text(encoding="utf-8") for name in ("compose.yaml", "Dockerfile"))
    metrics = str(DEFAULT_PORTS["metrics"])
    assert set(re.findall(r":(\d+)/(?:readyz|healthz)", compose)) == {metrics}
    assert set(re.findall(r"'HOOKSTREAM_METRICS_PORT', '(\d+)'", image)) == {metrics}
    assert re.findall(r"^EXPOSE (.+)$", image, re.MULTILINE) == [f"{DEFAULT_PORTS['api']} {metrics}"]


def test_the_chart_uses_the_default_ports() -> None:
    chart = ROOT / "helm" / "hookstream"
    pods = (chart / "templates" / "_pod.tpl").read_text(encoding="utf-8")
    set_in_pods = dict(re.findall(r'name: HOOKSTREAM_(API|METRICS)_PORT, value: "(\d+)"', pods))
    assert set_in_pods == {"API": str(DEFAULT_PORTS["api"]), "METRICS": str(DEFAULT_PORTS["metrics"])}
    named = {
        int(port)
        for path in chart.glob("templates/*.*")
        for pair in re.findall(r"\b(?:port|containerPort): (\d+)|localhost:(\d+)", path.read_text(encoding="utf-8"))
        for port in pair
        if port
    }
    assert named <= {*DEFAULT_PORTS.values()}
    outside = yaml.safe_load((chart / "values.yaml").read_text(encoding="utf-8"))["networkPolicy"]
    assert {name: outside[name]["ports"] for name in ("kafka", "postgresql")} == {
        "kafka": [DEFAULT_PORTS["kafka"]],
        "postgresql": [DEFAULT_PORTS["postgresql"]],
    }
