"""Find Java, and fetch Kafka's jars once, with Maven, into a cache folder."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from app.core import default_ports
from app.core.errors import Unavailable
from app.embedded.broker.folder_lock import FolderLock
from app.embedded.broker.process import run_to_end

Which = Callable[[str], str | None]
Say = Callable[[str], None]

KAFKA_VERSION = "4.3.1"
OLDEST_JAVA = 17

_POM = Path(__file__).with_name("pom.xml")
_FETCH_S = 900
_JAVA_VERSION_S = 30
_WAYS_ON = f"""\
There are three ways on:
  1. install it:        sudo apt-get install openjdk-17-jre-headless maven   (a later Java will do as well)
  2. Kafka in Docker:   docker compose up -d --wait   (this project's compose.yaml, image apache/kafka:{KAFKA_VERSION}),
                        then set HOOKSTREAM_BOOTSTRAP_SERVERS=localhost:{default_ports.KAFKA}
  3. your own Kafka:    set HOOKSTREAM_BOOTSTRAP_SERVERS=host:port"""


def default_cache(xdg_cache_home: str | None = None) -> Path:
    """The folder for the jars, below `$XDG_CACHE_HOME` if that is set."""
    root = Path(xdg_cache_home) if xdg_cache_home else Path.home() / ".cache"
    return root / "hookstream" / f"kafka-{KAFKA_VERSION}"


async def find_java(which: Which) -> Path:
    """The Java to use. Raises `Unavailable` with the remedies if there is none, or only one that is too old."""
    java = which("java")
    if java is None:
        raise Unavailable(f"The embedded broker needs Java {OLDEST_JAVA} or later; there is none.\n{_WAYS_ON}")
    _, output = await run_to_end([java, "-version"], folder=Path("/"), timeout_s=_JAVA_VERSION_S)
    version = re.search(r'version "(?:1\.)?(\d+)', output)
    if version is None or int(version[1]) < OLDEST_JAVA:
        first_line = output.strip().partition("\n")[0]
        raise Unavailable(
            f"The embedded broker needs Java {OLDEST_JAVA} or later; {java} says: {first_line}\n{_WAYS_ON}"
        )
    return Path(java).resolve()


async def resolve(cache: Path, *, say: Say, which: Which) -> list[Path]:
    """The jars in the order of the class path; fetched if they are not in `cache` yet.

    The folder appears under its final name when it is complete, so a fetch that was cut off counts for nothing.
    Several processes at once are fine: one fetches, the others wait. `Unavailable` if Maven is missing or fails.
    """
    jars = cache / f"jars-{hashlib.sha256(_POM.read_bytes()).hexdigest()[:12]}"
    if not jars.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        lock = FolderLock(cache / "lock")
        if not await lock.acquire(wait_s=0):
            say("Waiting for another process that fetches Kafka")
            if not await lock.acquire(wait_s=_FETCH_S):
                raise Unavailable(f"Process {lock.owner()} has been fetching Kafka into {cache} for too long")
        try:
            if not jars.is_dir():
                await _fetch(jars, say, which)
        finally:
            lock.release()
    return sorted(jars.iterdir())


async def _fetch(jars: Path, say: Say, which: Which) -> None:
    maven = which("mvn")
    if maven is None:
        raise Unavailable(f"Maven fetches Kafka for the embedded broker (once); there is none.\n{_WAYS_ON}")
    say(f"Fetching Apache Kafka {KAFKA_VERSION} (once, 45 MB)")
    unfinished = jars.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    command = [
        maven,
        "--batch-mode",
        "--quiet",
        "--strict-checksums",
        f"--file={_POM}",
        "dependency:copy-dependencies",
        f"-DoutputDirectory={unfinished}",
    ]
    try:
        status, output = await run_to_end(command, folder=jars.parent, timeout_s=_FETCH_S)
    except TimeoutError as error:
        raise Unavailable(f"Maven has not fetched Kafka within {_FETCH_S} s.\n{_WAYS_ON}") from error
    if status != 0:
        tail = "\n".join(output.strip().splitlines()[-12:])
        raise Unavailable(f"Maven could not fetch Kafka:\n{tail}\n{_WAYS_ON}")
    os.sync()
    unfinished.rename(jars)


def main() -> None:
    """`python -m app.embedded.broker.jars [CACHE]`: fetch the jars and print their folder."""
    cache = Path(sys.argv[1]) if len(sys.argv) > 1 else default_cache()
    try:
        jars = asyncio.run(resolve(cache, say=print, which=shutil.which))
    except Unavailable as error:
        sys.exit(str(error))
    print(jars[0].parent)


if __name__ == "__main__":
    main()
