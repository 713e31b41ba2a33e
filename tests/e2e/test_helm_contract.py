"""The container's contract: what the chart renders runs as processes, answers its probes, and ends when told to.

Only addresses and paths are replaced: brokers, database and ports by those of the test, folders by temporary ones.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from secrets import token_hex

import pytest

from app.runtime.roles import ROLES
from tests.conftest import RealBroker, apart
from tests.e2e.harness import HOOKSTREAM
from tests.helm.chart import ROOT, Object, Rendered, render
from tests.helm.image import entry_point
from tests.patience import LOOKS, PATIENCE_S
from tests.ports import free_port
from tests.postgres import Postgres

SECRET = {
    "secret-keys": "t1:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
    "admin-token": "op_0123456789abcdef0123456789",
    "smtp-url": "smtp://127.0.0.1:9",
}
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


class Container:
    """The only container of a pod, as a process on this machine."""

    def __init__(
        self, name: str, pod: Object, folder: Path, secret: Mapping[str, str], bootstrap: str, ports: Iterator[int]
    ) -> None:
        (self.spec,) = pod["spec"]["containers"]
        self._folder = folder
        self._ports = {each["name"]: next(ports) for each in self.spec.get("ports", [])}
        self._mount(pod, secret)
        numbers = {str(each["containerPort"]): each["name"] for each in self.spec.get("ports", [])}
        replaced = {"HOOKSTREAM_BOOTSTRAP_SERVERS": bootstrap, "HOOKSTREAM_INSTANCE_ID": f"{name}-0"}
        self.environ = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),  # the code beside these tests, wherever they run
            "HOME": str(folder / "tmp"),
            "KUBERNETES_SERVICE_HOST": "10.0.0.1",  # every pod has it
        }
        for each in self.spec.get("env", []):
            given = str(each.get("value", ""))
            value = replaced.get(each["name"], self._path(given))
            if each["name"].endswith("_PORT"):
                value = str(self._ports[numbers[given]]) if given in numbers else given
            self.environ[each["name"]] = value
        self.process: subprocess.Popen[bytes] | None = None

    def _path(self, value: str) -> str:
        """A path of the container below the test's folder; other values as they are."""
        mounts = [each["mountPath"] for each in self.spec["volumeMounts"]]
        return f"{self._folder}{value}" if any(value.startswith(mount) for mount in mounts) else value

    def _mount(self, pod: Object, secret: Mapping[str, str]) -> None:
        """Make the folders of its volumes, and the files of its secret; nothing else can be written or read."""
        volumes = {each["name"]: each for each in pod["spec"]["volumes"]}
        for mount in self.spec["volumeMounts"]:
            target = Path(f"{self._folder}{mount['mountPath']}")
            target.mkdir(parents=True)
            for item in volumes.get(mount["name"], {}).get("secret", {}).get("items", []):
                (target / item["path"]).write_text(secret[item["key"]], encoding="utf-8")

    @property
    def command(self) -> list[str]:
        """The image's entry point, without its init process, and the arguments of the pod."""
        entry = entry_point((ROOT / "Dockerfile").read_text(encoding="utf-8"))
        assert entry == ["tini", "--", "hookstream"] and "command" not in self.spec
        return [HOOKSTREAM, *self.spec["args"]]

    @contextmanager
    def running(self) -> Iterator[Container]:
        """Run it; it is killed at the end if it still runs."""
        with subprocess.Popen(self.command, env=self.environ, cwd=self._folder, start_new_session=True) as process:
            self.process = process
            try:
                yield self
            finally:
                if process.poll() is None:
                    process.kill()

    def probe(self, name: str) -> None:
        """Ask a probe until it is answered with 200."""
        get = self.spec[name]["httpGet"]
        url = f"http://127.0.0.1:{self._ports[get['port']]}{get['path']}"
        said = "nothing"
        for _ in range(LOOKS):
            assert self.process is not None and self.process.poll() is None, f"{self.spec['args']} has ended"
            try:
                with urllib.request.urlopen(url, timeout=10):
                    return
            except urllib.error.HTTPError as error:
                said = error.read().decode()
            except (urllib.error.URLError, OSError):
                pass
            time.sleep(0.1)  # a foreign process leaves no other way than to ask again
        raise AssertionError(f"{url} of {self.spec['args']}: {said}")

    def end(self) -> int:
        """SIGTERM, as Kubernetes sends it; the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)

    def port(self, name: str) -> int:
        """The port that stands for a port of the container."""
        return self._ports[name]


def _different_ports() -> Iterator[int]:
    """Free ports; a port is free until its server starts, so that it could be given twice."""
    given: set[int] = set()
    while True:
        port = free_port()
        if port not in given:
            given.add(port)
            yield port


def _brokers(component: str, bootstrap: str) -> str:
    """Where a pod finds Kafka; its network policy keeps the migration from it."""
    return "127.0.0.1:9" if component == "migration" else bootstrap


class Namespace:
    """Where a rendered release runs."""

    def __init__(self, rendered: Rendered, folder: Path, secret: Mapping[str, str], bootstrap: str) -> None:
        self.rendered = rendered
        ports = _different_ports()
        self.containers = {
            name: Container(f"hooks-hookstream-{name}", pod, folder / name, secret, _brokers(name, bootstrap), ports)
            for name, pod in rendered.pods().items()
        }

    def hook(self, name: str) -> None:
        """Run a hook's container to its end."""
        hook = self.containers.pop(name)
        done = subprocess.run(hook.command, env=hook.environ, capture_output=True, text=True, timeout=PATIENCE_S)
        assert done.returncode == 0, done.stdout + done.stderr

    def helm_test(self, serving: str) -> None:
        """Run the command of `helm test` against the API."""
        (pod,) = self.rendered.of_kind("Pod").values()
        (container,) = pod["spec"]["containers"]
        assert container["command"] == ["python", "-c"]
        program, _ = container["args"]
        url = f"http://127.0.0.1:{self.containers[serving].port('http')}"
        done = subprocess.run([sys.executable, "-c", program, url], capture_output=True, text=True, timeout=PATIENCE_S)
        assert done.returncode == 0, done.stdout + done.stderr


def live_and_end(namespace: Namespace, serving: str) -> None:
    """Start everything, ask all probes, run `helm test`, and stop it."""
    with ExitStack() as stack:
        running = [stack.enter_context(each.running()) for each in namespace.containers.values()]
        for name in PROBES:
            for container in running:
                container.probe(name)
        namespace.helm_test(serving)
        codes = {container.spec["args"][1]: container.end() for container in running}
    assert not any(codes.values()), codes


def test_every_role_of_the_production_example_runs(broker: RealBroker, postgres: Postgres, tmp_path: Path) -> None:
    prefix = f"kafka.topicPrefix=h{token_hex(3)}."
    small = (prefix, "kafka.replicationFactor=1", "kafka.partitions=4", "autoscaling.kind=none")
    plaintext = ("kafka.security=plaintext", "kafka.ca.secret=", "kafka.client.secret=")
    secret = {**SECRET, "database-url": apart(postgres.database())}
    namespace = Namespace(render("production", *small, *plaintext), tmp_path, secret, broker.bootstrap)
    namespace.hook("topics")
    namespace.hook("migration")
    assert set(namespace.containers) == set(ROLES)
    live_and_end(namespace, "api")


def test_the_one_process_of_the_dev_example_runs(broker: RealBroker, tmp_path: Path) -> None:
    rendered = render("dev", f"kafka.topicPrefix=h{token_hex(3)}.")
    namespace = Namespace(rendered, tmp_path, SECRET, broker.bootstrap)
    namespace.hook("topics")
    live_and_end(namespace, "all")
    written = tmp_path / "all" / "var" / "lib" / "hookstream" / "data"
    assert written.is_dir() and json.dumps(sorted(path.name for path in written.iterdir())) != "[]"


@pytest.mark.parametrize("name", PROBES)
def test_a_probe_asks_a_port_that_the_container_names(name: str) -> None:
    for component, pod in render("production").pods().items():
        if component in ROLES:
            (container,) = pod["spec"]["containers"]
            assert container[name]["httpGet"]["port"] in {each["name"] for each in container["ports"]}
