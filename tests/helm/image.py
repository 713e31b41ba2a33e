"""What the Dockerfile and compose.yaml declare."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from tests.helm.chart import ROOT, program
from tests.image.dockerfile import assignments, health_command, last, stages, words


def entry_point(dockerfile: str) -> list[str]:
    """The words of ENTRYPOINT."""
    return words(last(stages(dockerfile)[-1], "ENTRYPOINT"))


def healthcheck(dockerfile: str) -> list[str]:
    """The words of the command of HEALTHCHECK."""
    return health_command(stages(dockerfile)[-1])


def variables(dockerfile: str) -> dict[str, str]:
    """The variables that the image sets."""
    return dict(assignments(last(stages(dockerfile)[-1], "ENV")))


def services() -> dict[str, Any]:
    """The services of compose.yaml, resolved and validated by the library that `docker compose config` uses."""
    command = [program("cmd"), "--format", "json", "compose.yaml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)["services"]
    return found
