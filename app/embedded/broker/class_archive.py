"""Halve the broker's start time: start it once in order to write a class data archive (CDS)."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

from app.core.errors import Unavailable
from app.embedded.broker import jars, kraft
from app.embedded.broker.process import BrokerProcess

_PATIENCE_S = 120


async def prepare(cache: Path, *, say: jars.Say, which: jars.Which) -> bool:
    """Fetch the jars and write the archive for this Java, unless they exist; False if there is no archive.

    Without the archive a broker works as well, it only starts more slowly. `Unavailable` as `jars.resolve`.
    """
    java = await jars.find_java(which)
    classes = await jars.resolve(cache, say=say, which=which)
    runtime = kraft.Runtime(java=java, jars=classes, cache=cache)
    if runtime.archive.is_file():
        return True
    with tempfile.TemporaryDirectory(prefix="archive-", dir=cache) as scratch:
        written = await _trial_run(runtime, Path(scratch))
        if written.is_file():
            for outdated in cache.glob("classes-*.jsa"):
                outdated.unlink(missing_ok=True)
            written.rename(runtime.archive)
    return runtime.archive.is_file()


async def _trial_run(runtime: kraft.Runtime, folder: Path) -> Path:
    (folder / "logs").mkdir()
    await kraft.format_once(folder, runtime)
    configuration = folder / "server.properties"
    port = kraft.free_port()
    text = kraft.properties(port=port, controller_port=kraft.free_port(besides=port))
    configuration.write_text(text, encoding="utf-8")
    written = folder / "classes.jsa"
    command = runtime.command("kafka.Kafka", configuration.name, archive_to=written)
    process = BrokerProcess(command, folder=folder, lock_fd=None)
    try:
        async with asyncio.timeout(_PATIENCE_S):
            await process.started()
            process.terminate()
            await process.exited()
    except TimeoutError:
        written.unlink(missing_ok=True)
    finally:
        process.kill()
        await process.exited()
    return written


def main() -> None:
    """`python -m app.embedded.broker.class_archive [CACHE]`: prepare everything for fast starts of the broker."""
    cache = Path(sys.argv[1]) if len(sys.argv) > 1 else jars.default_cache()
    try:
        if not asyncio.run(prepare(cache.absolute(), say=print, which=shutil.which)):
            print("This Java writes no class archive; the broker starts a little more slowly")
    except Unavailable as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
