"""The unit file of docs/deploy fits the settings and the command, and systemd accepts it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from app.runtime.process import _STOP_S
from app.settings import Settings, variables

UNIT = Path(__file__).parents[2] / "docs" / "deploy" / "hookstream@.service"
TEXT = UNIT.read_text("utf-8")


def test_its_variables_are_settings() -> None:
    named = set(re.findall(r"HOOKSTREAM_[A-Z_]+", TEXT))
    assert named and named <= set(variables())


def test_systemd_waits_for_longer_than_a_stop_takes() -> None:
    match = re.search(r"^TimeoutStopSec=(\d+)$", TEXT, re.M)
    assert match is not None and int(match[1]) > Settings().stop_seconds + _STOP_S


def test_systemd_accepts_it(tmp_path: Path) -> None:
    tool = shutil.which("systemd-analyze")
    if tool is None:
        return  # where there is no systemd, the other tests must do
    unit = tmp_path / UNIT.name
    unit.write_text(TEXT.replace("/opt/hookstream/bin/hookstream", sys.executable), encoding="utf-8")
    done = subprocess.run([tool, "verify", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
