"""What the chart renders, as processes of this machine.

Only addresses and paths are replaced: brokers, database and ports by those of the test, folders by temporary ones.
"""

from __future__ import annotations

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

from tests.e2e.harness import HOOKSTREAM
from tests.helm.chart import ROOT, Object, Rendered
from tests.helm.image import entry_point, variables
from tests.helm.sandbox import contained
from tests.patience import LOOKS, PATIENCE_S
from tests.ports import free_port

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
#: name of a Secret → key → text
Secrets = Mapping[str, Mapping[str, str]]


class Container:
    """The only container of a pod, as a process on this machine."""

    def __init__(self, name: str, pod: Object, folder: Path, secrets: Secrets, bootstrap: str) -> None:
        (self.spec,) = pod["spec"]["containers"]
        self._folder = folder
        #: all that it can write
        self.volumes: list[Path] = []
        self._ports = {each["name"]: free_port() for each in self.spec.get("ports", [])}
        self._mount(pod, secrets)
        numbers = {str(each["containerPort"]): each["name"] for each in self.spec.get("ports", [])}
        replaced = {"HOOKSTREAM_BOOTSTRAP_SERVERS": bootstrap, "HOOKSTREAM_INSTANCE_ID": f"{name}-0"}
        of_the_image = {name: self._path(value) for name, value in variables(DOCKERFILE).items()}
        self.environ = of_the_image | {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),  # the code beside these tests, wherever they run
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

    def _mount(self, pod: Object, secrets: Secrets) -> None:
        """Make the folders of its volumes, and the files of its secrets."""
        volumes = {each["name"]: each for each in pod["spec"]["volumes"]}
        for mount in self.spec["volumeMounts"]:
            target = Path(f"{self._folder}{mount['mountPath']}")
            target.mkdir(parents=True)
            if not mount.get("readOnly"):
                self.volumes.append(target)
            mounted = volumes.get(mount["name"], {}).get("secret", {})
            for item in mounted.get("items", []):
                text = secrets[mounted["secretName"]][item["key"]]
                (target / item["path"]).write_text(text, encoding="utf-8")

    @property
    def command(self) -> list[str]:
        """The image's entry point, without its init process, and the arguments of the pod."""
        assert entry_point(DOCKERFILE) == ["tini", "--", "hookstream"] and "command" not in self.spec
        return contained(self.volumes, [HOOKSTREAM, *self.spec["args"]])

    @contextmanager
    def running(self) -> Iterator[Container]:
        """Run it; it is killed at the end if it still runs."""
        here = self._folder / "tmp"
        with subprocess.Popen(self.command, env=self.environ, cwd=here, start_new_session=True) as process:
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
        answer = "nothing"
        for _ in range(LOOKS):
            assert self.process is not None and self.process.poll() is None, f"{self.spec['args']} has ended"
            try:
                with urllib.request.urlopen(url, timeout=10):
                    return
            except urllib.error.HTTPError as error:
                answer = error.read().decode()
            except (urllib.error.URLError, OSError):
                pass
            time.sleep(0.1)  # a foreign process leaves no other way than to ask again
        raise AssertionError(f"{url} of {self.spec['args']}: {answer}")

    def end(self) -> int:
        """SIGTERM, as Kubernetes sends it; the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)

    def port(self, name: str) -> int:
        """The port that stands for a port of the container."""
        return self._ports[name]


def _brokers(component: str, bootstrap: str) -> str:
    """Where a pod finds Kafka; its network policy keeps the migration from it."""
    return "127.0.0.1:9" if component == "migration" else bootstrap


class Namespace:
    """Where a rendered release runs."""

    def __init__(self, rendered: Rendered, folder: Path, secrets: Secrets, bootstrap: str) -> None:
        self.rendered = rendered
        made = {name: each["stringData"] for name, each in rendered.of_kind("Secret").items()}
        given = {**secrets, **made}
        self.containers = {
            name: Container(f"hooks-hookstream-{name}", pod, folder / name, given, _brokers(name, bootstrap))
            for name, pod in rendered.pods().items()
        }

    def only(self, *names: str) -> None:
        """Leave the other containers out."""
        self.containers = {name: self.containers[name] for name in names}

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
