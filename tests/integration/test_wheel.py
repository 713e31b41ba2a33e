"""The wheel: what `pip install hookstream` gives, without the repository around it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]
CATALOGUE = """
import json, app
from app.data import EVENT_TYPES
from app.profiles.catalog import load_catalogue
types = {profile: len(catalogue) for profile, catalogue in load_catalogue(EVENT_TYPES).items()}
print(json.dumps({"app": app.__file__, "types": types}))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the contents of a wheel that was built from the files that git tracks."""
    source, wheels, folder = (tmp_path_factory.mktemp(name) for name in ("source", "wheels", "site"))
    tracked = subprocess.run(["git", "-C", ROOT, "ls-files", "-z"], capture_output=True, check=True).stdout
    for name in filter(None, tracked.decode().split("\0")):
        if name.split("/")[0] in ("app", "topics", "schemas", "README.md", "LICENSE", "pyproject.toml"):
            target = source / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).is_symlink():
                target.symlink_to((ROOT / name).readlink())
            elif (ROOT / name).exists():
                target.write_bytes((ROOT / name).read_bytes())
    built: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-build-isolation",
        "--no-deps",
        "-w",
        wheels,
        source,
    ]
    subprocess.run(built, check=True, timeout=PATIENCE_S)
    (wheel,) = wheels.glob("hookstream-*.whl")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


def run(installed: Path, folder: Path, code: str) -> str:
    """Run Python code in an empty folder, where only the wheel's `app` can be imported."""
    isolated = [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(installed)!r})\n{code}"]
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    done = subprocess.run(isolated, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    return done.stdout


def command(installed: Path, folder: Path, *arguments: str) -> str:
    """What a `hookstream` command prints."""
    code = f"sys.argv[0] = 'hookstream'\nfrom app.cli.main import main\nsys.argv[1:] = {list(arguments)!r}\nmain()"
    return run(installed, folder, code)


def test_the_wheel_has_the_catalogue_of_event_types(installed: Path, tmp_path: Path) -> None:
    answer: dict[str, Any] = json.loads(run(installed, tmp_path, CATALOGUE))
    assert Path(answer["app"]).is_relative_to(installed)
    assert sorted(answer["types"]) == sorted(
        path.name for path in (ROOT / "schemas" / "events").iterdir() if path.is_dir()
    )
    assert all(answer["types"].values())


def test_the_wheel_exports_its_topics(installed: Path, tmp_path: Path) -> None:
    assert "--topic events.raw " in command(installed, tmp_path, "topics", "export")


def test_the_wheel_has_every_file_that_the_packages_read(installed: Path) -> None:
    packaged = {str(path.relative_to(installed)) for path in (installed / "app").rglob("*") if path.is_file()}
    tracked = subprocess.run(["git", "-C", ROOT, "ls-files", "app"], capture_output=True, check=True, text=True).stdout
    missing = {name for name in tracked.split() if not (ROOT / name).is_dir()} - packaged
    assert not missing
