"""Render the Helm chart, and check what it renders."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tests.architecture.chart_schema import KUBERNETES, TYPES

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "hookstream"
EXAMPLES = {path.stem: path for path in sorted((CHART / "examples").glob("*.yaml"))}
_OWN_SCHEMAS = Path(__file__).parent / "schemas"
#: what kubeconform looks for
_LOCATION = "{{ .ResourceKind }}{{ .KindSuffix }}.json"

Object = dict[str, Any]


class Rendered(NamedTuple):
    """What `helm template` answers."""

    code: int
    text: str
    error: str

    def objects(self) -> list[Object]:
        """The objects of Kubernetes; raises `AssertionError` if the values were refused."""
        assert self.code == 0, self.error
        return [each for each in yaml.safe_load_all(self.text) if each]

    def of_kind(self, *kinds: str) -> dict[str, Object]:
        """Name → object, of these kinds."""
        return {each["metadata"]["name"]: each for each in self.objects() if each["kind"] in kinds}

    def pods(self) -> dict[str, Object]:
        """Component → pod specification, of workloads and hooks."""
        owners = self.of_kind("Deployment", "StatefulSet", "Job").values()
        return {each["metadata"]["labels"]["app.kubernetes.io/component"]: each["spec"]["template"] for each in owners}


def program(name: str) -> str:
    """Where a program is that scripts/bootstrap has built."""
    path = ROOT / ".cache" / "go" / "bin" / name
    assert path.exists(), f"{name} is missing: make setup builds it with Go"
    return str(path)


def render(
    example: str | None = None,
    *values: str,
    release: str = "hooks",
    given: Object | None = None,
    chart: Path = CHART,
) -> Rendered:
    """Render the chart with an example's values; `values` are assignments, and settings are strings.

    `given` are values as a file has them.
    """
    chosen = [*(("-f", str(EXAMPLES[example])) if example else ()), "-f", "-"]
    assignments = [word for each in values for word in ("--set-string" if "settings." in each else "--set", each)]
    command = [program("helm"), "template", release, str(chart), "-n", "hooks", "--kube-version", KUBERNETES]
    words = [*command, *chosen, *assignments]
    done = subprocess.run(
        words, input=json.dumps(given or {}, ensure_ascii=False), capture_output=True, text=True, check=False
    )
    return Rendered(done.returncode, done.stdout, done.stderr)


def lint(example: str) -> subprocess.CompletedProcess[str]:
    """Run `helm lint --strict` with an example's values."""
    command = [program("helm"), "lint", "--strict", str(CHART), "-f", str(EXAMPLES[example])]
    return subprocess.run([*command, "--kube-version", KUBERNETES], capture_output=True, text=True, check=False)


def conform(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run `kubeconform -strict` on rendered YAML; nothing is fetched and no kind is left out."""
    _write_schemas(folder)
    command = [program("kubeconform"), "-strict", "-summary", "-verbose", "-schema-location", f"{folder}/{_LOCATION}"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False)


def _write_schemas(folder: Path) -> None:
    """Kubernetes' schemas without the names by which references would lead to the network, and our own."""
    for name in ("_definitions", *_kinds()):
        schema = json.loads((TYPES / f"{name}.json").read_text(encoding="utf-8"))
        schema.pop("$id")
        text = json.dumps(schema).replace('"/api/_definitions.json', '"_definitions.json')
        (folder / f"{name}.json").write_text(text, encoding="utf-8")
    for path in _OWN_SCHEMAS.glob("*.json"):
        (folder / path.name).write_bytes(path.read_bytes())


def _kinds() -> Iterable[str]:
    """The schemas of Kubernetes' own kinds that the chart may render."""
    return (
        *("configmap-v1", "pod-v1", "secret-v1", "service-v1", "serviceaccount-v1"),
        *("deployment-apps-v1", "statefulset-apps-v1", "job-batch-v1"),
        *("horizontalpodautoscaler-autoscaling-v2", "poddisruptionbudget-policy-v1"),
        *("ingress-networking-v1", "networkpolicy-networking-v1"),
    )


def environment(pod: Object) -> dict[str, str]:
    """The variables of a pod's only container; a reference to a field is given as `$(field)`."""
    (container,) = pod["spec"]["containers"]
    return {
        each["name"]: each.get("value", f"$({json.dumps(each.get('valueFrom'))})") for each in container.get("env", [])
    }
