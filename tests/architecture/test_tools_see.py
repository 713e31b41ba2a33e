"""The linter, the import rules and git see every file of the product: a folder that they skip is checked by nobody."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
APP = ROOT / "app"
FILES = set(APP.rglob("*.py"))


def test_every_folder_of_modules_is_a_package() -> None:
    missing = {path.parent.relative_to(ROOT).as_posix() for path in FILES if not (path.parent / "__init__.py").exists()}
    assert not missing, f"import-linter sees no folder without __init__.py: {sorted(missing)}"


def test_ruff_reads_every_file() -> None:
    # it also skips what .gitignore matches anywhere in the tree
    command = [sys.executable, "-m", "ruff", "check", "--show-files", "app"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    skipped = {path.relative_to(ROOT).as_posix() for path in FILES - {Path(line) for line in run.stdout.splitlines()}}
    assert not skipped, f"ruff passes these by, see .gitignore: {sorted(skipped)}"
