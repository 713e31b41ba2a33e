"""Print the part of requirements.lock that names need, with its hashes: the Dockerfile installs exactly these.

    python scripts/locked.py setuptools
    python scripts/locked.py --needed-by dist/hookstream-0.1.0-py3-none-any.whl --extra otel
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

LOCK = Path(__file__).parents[1] / "requirements.lock"
_ENTRY = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==(?:[^\n]*\n)(?:[ \t][^\n]*\n)*", re.MULTILINE)


def entries(text: str) -> dict[str, str]:
    """Normalised name → its lines in a lock file."""
    return {normalised(match[1]): match[0] for match in _ENTRY.finditer(text)}


def normalised(name: str) -> str:
    """A name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(lock: dict[str, str]) -> str:
    """The versions alone."""
    return "".join(lines.split()[0] + "\n" for lines in lock.values())


def needed_by(wheel: str, extra: str | None, lock: dict[str, str]) -> list[str]:
    """The names that pip would install for a wheel, at the locked versions."""
    with tempfile.TemporaryDirectory() as folder:
        constraints, report = Path(folder, "pins.txt"), Path(folder, "report.json")
        constraints.write_text(pins(lock), encoding="utf-8")
        what = f"{wheel}[{extra}]" if extra else wheel
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
        subprocess.run([*pip, "-c", str(constraints), "--report", str(report), what], check=True)
        planned = json.loads(report.read_text(encoding="utf-8"))["install"]
    names = [normalised(each["metadata"]["name"]) for each in planned]
    return [name for name in names if name != normalised(Path(wheel).name.split("-")[0])]


def main() -> None:
    """Print the entries, or end with the names that the lock file lacks."""
    parser = argparse.ArgumentParser(description="Print entries of requirements.lock.")
    parser.add_argument("names", nargs="*", help="packages")
    parser.add_argument("--needed-by", metavar="WHEEL", help="also what this wheel needs")
    parser.add_argument("--extra", help="extras of the wheel, comma-separated")
    given = parser.parse_args()
    lock = entries(LOCK.read_text(encoding="utf-8"))
    names = [normalised(each) for each in given.names]
    if given.needed_by:
        names += needed_by(given.needed_by, given.extra, lock)
    missing = sorted(set(names) - set(lock))
    if missing:
        sys.exit(f"requirements.lock lacks {', '.join(missing)}")
    print("".join(lock[name] for name in sorted(set(names))), end="")


if __name__ == "__main__":
    main()
