"""Read the Dockerfile and compose.yaml."""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any

from tests.helm.chart import ROOT, program


def entry_point(dockerfile: str) -> list[str]:
    """The words of ENTRYPOINT."""
    (words,) = re.findall(r"^ENTRYPOINT (\[.*\])$", dockerfile, re.MULTILINE)
    return list(map(str, json.loads(words)))


def healthcheck(dockerfile: str) -> list[str]:
    """The words of the command of HEALTHCHECK."""
    (words,) = re.findall(r"^HEALTHCHECK .*\\\n\s+CMD (\[.*\])$", dockerfile, re.MULTILINE)
    return list(map(str, json.loads(words)))


def services() -> dict[str, Any]:
    """The services of compose.yaml, resolved and validated by the library that `docker compose config` uses."""
    command = [program("cmd"), "--format", "json", "compose.yaml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)["services"]
    return found
