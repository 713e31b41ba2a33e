"""`make image`: build the Dockerfile by hand in a clean Debian folder, and run the result with a read-only root.

A stand-in for `docker build` and `docker run` on machines without an engine. It needs root and debootstrap.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from app.embedded.broker.broker import EmbeddedBroker
from app.embedded.broker.jars import default_cache
from tests.image.builder import Build
from tests.image.container import Image
from tests.image.dockerfile import health_command, last, stages, words
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache" / "image"
#: what python:3.11-slim-bookworm has: Debian, its certificates, Python and pip
_PACKAGES = "ca-certificates,netbase,tzdata,python3,python3-venv,python3-pip,python-is-python3"
_DEBIAN = "http://deb.debian.org/debian"
#: exits with the number of places that can be written outside of the volumes
_WRITES = """
import os, pathlib
def writable(path):
    try:
        (pathlib.Path(path) / "probe").touch()
    except OSError:
        return False
    return True
wrong = [path for path in ("/", "/etc", "/usr", "/opt/hookstream", "/var", "/home", "/run", "/src") if writable(path)]
missing = [path for path in ("/tmp", "/var/lib/hookstream") if not writable(path)]
assert os.getuid() == 10001 and not wrong and not missing, (os.getuid(), wrong, missing)
"""
_CONTENTS = """
import importlib.util, pathlib, sys
extra = [name for name in ("tests", "monitoring", "pip", "scripts") if importlib.util.find_spec(name)]
assert not extra and not pathlib.Path("/src").exists(), extra
import opentelemetry.sdk
"""


def debian(folder: Path) -> None:
    """Make a stand-in for the base image, unless it is there."""
    if (folder / "usr/bin/python").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    command = ["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", "bookworm", str(folder), _DEBIAN]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    for mark in (folder / "usr/lib").glob("python3*/EXTERNALLY-MANAGED"):
        mark.unlink()  # the base image has none


class Report:
    """Prints a line for each step that has gone well, with its time."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, sentence: str) -> None:
        now = time.monotonic()
        print(f"{now - self._last:7.1f} s  {sentence}", flush=True)
        self._last = now


def check(image: Image, entry: list[str], health: list[str], bootstrap: str, report: Report) -> None:
    """Run the image as users do."""
    shown = image.run(*entry, "--help")
    assert shown.returncode == 0 and "Usage" in shown.stdout, shown.stderr
    report("the default command shows the help")
    for name, code in (("can write to its volumes alone, as user 10001", _WRITES), ("has the wheel alone", _CONTENTS)):
        done = image.run("python", "-c", code)
        assert done.returncode == 0, done.stderr
        report(f"the image {name}")
    kafka = {"HOOKSTREAM_BOOTSTRAP_SERVERS": bootstrap, "HOOKSTREAM_REPLICATION_FACTOR": "1"}
    ring = image.run(*entry, "keys", "generate").stdout.strip()
    demo = image.run(*entry, "up", "--demo", "--once", HOOKSTREAM_TOPIC_PREFIX="demo.", **kafka)
    assert demo.returncode == 0, demo.stdout + demo.stderr
    report("`up --demo --once` delivers every example")
    ports = {"HOOKSTREAM_METRICS_PORT": str(free_port()), "HOOKSTREAM_API_PORT": str(free_port())}
    secrets = {"HOOKSTREAM_SECRET_KEYS": ring, "HOOKSTREAM_ADMIN_TOKEN": "op_0123456789abcdef0123456789"}
    own = {"HOOKSTREAM_PARTITIONS": "4", "HOOKSTREAM_DATA_DIR": "/var/lib/hookstream/run"}
    given = kafka | ports | secrets | own
    applied = image.run(*entry, "topics", "apply", **given)
    assert applied.returncode == 0, applied.stderr
    with image.running(*entry, "run", "all", **given) as container:
        container.until(image, health, **ports)
        report("HEALTHCHECK's command succeeds in a running container")
        ready = [word.replace("/healthz", "/readyz") for word in health]
        container.until(image, ready, **ports)
        assert container.stop() == 0
    assert image.run(*health, **ports).returncode != 0
    report("SIGTERM to process 1 ends it with 0, and HEALTHCHECK's command then fails")


async def main() -> None:
    """Build, and run."""
    parser = argparse.ArgumentParser(prog="make image", description=__doc__)
    parser.add_argument("--base", type=Path, default=CACHE / "base", help="a root with Python 3.11")
    given = parser.parse_args()
    report = Report()
    debian(given.base)
    report(f"base in {given.base}")
    build = Build(ROOT, given.base, CACHE)
    parts = stages((ROOT / "Dockerfile").read_text(encoding="utf-8"))
    for stage in parts:
        build.stage(stage)
        report(f"stage {stage.name or 'of the image'}")
    image = parts[-1]
    user, _, _ = last(image, "USER").partition(":")
    with tempfile.TemporaryDirectory() as folder:
        broker = EmbeddedBroker(data_dir=Path(folder, "broker"), cache_dir=default_cache())
        bootstrap = await broker.start()
        try:
            volume = Path(folder, "volume")
            built = Image(build.root(""), volume, int(user), last(image, "WORKDIR"), build.variables)
            arguments = (built, words(last(image, "ENTRYPOINT")), health_command(image), bootstrap, report)
            await asyncio.to_thread(check, *arguments)
        finally:
            await broker.stop()


if __name__ == "__main__":
    if sys.platform != "linux":
        sys.exit("make image needs Linux: it makes mount namespaces")
    asyncio.run(main())
