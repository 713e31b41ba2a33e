"""`make test-faults`: play rounds of faults against a whole service, and say what broke.

Every round prints its seed: `make test-faults ARGS='--seed 123 --fault "kill dispatch"'` plays that one again. (The
moments at which processes and network act cannot be repeated; the faults, the traffic and the receivers can.)
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import secrets
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from random import Random

from tests.faults import report
from tests.faults.cluster import Cluster, say
from tests.faults.faults import FAULTS, RARE, RARELY, RELEASES, UPGRADE
from tests.faults.rounds import Round, Stage


def choose(dice: Random, number: int) -> tuple[str, ...]:
    """The faults of a round: mostly one, often two, and now and then one that takes long."""
    if number % RARELY == RARELY - 1:
        return (dice.choice(sorted(RARE)),)
    return tuple(dice.sample(sorted(FAULTS), dice.choice((1, 1, 2))))


def _unpack(commit: str, folder: Path) -> Path:
    """Write the code of a commit into a new folder."""
    archive = subprocess.run(["git", "archive", commit], check=True, stdout=subprocess.PIPE)
    folder.mkdir(parents=True)
    subprocess.run(["tar", "-x", "-C", str(folder)], check=True, input=archive.stdout)
    return folder


async def play(options: argparse.Namespace, folder: Path) -> list[Round]:
    """All rounds on one cluster; a broken one is kept in mind, and the next one is played."""
    stage = Stage(Cluster(folder, options.beside and _unpack(options.beside, folder / "other release")))
    await stage.start()
    rounds = []
    try:
        for number in range(options.rounds):
            seed = options.seed + number
            if options.fault:
                faults = tuple(options.fault)
            elif options.beside:
                faults = (tuple(RELEASES)[1 + number % (len(RELEASES) - 1)] if number else UPGRADE,)
            else:
                faults = choose(Random(f"faults {seed}"), number)
            played = await stage.play(seed, faults)
            rounds.append(played)
            say(report.line(played, number + 1, options.rounds))
            for sentence in played.verdict.broken[:10]:
                say(f"       {sentence}")
            with options.report.open("a", encoding="utf-8") as file:
                file.write(json.dumps(report.record(played)) + "\n")
    finally:
        await stage.stop()
    return rounds


def main() -> int:
    """0: nothing was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="how many (a round takes about 12 s; default 20)")
    parser.add_argument("--seed", type=int, default=None, help="of the first round; the next ones count up")
    parser.add_argument("--fault", action="append", default=[], help="only this one (again: together with that one)")
    parser.add_argument(
        "--beside",
        metavar="COMMIT",
        help="an earlier release: begin with it, upgrade under load in the first round, then play rollbacks and "
        "workers of both releases (unless --fault is given)",
    )
    parser.add_argument("--report", type=Path, default=Path(".cache/faults.jsonl"), help="each round is appended here")
    parser.add_argument("--keep", type=Path, default=None, help="folder for the broker's and the service's files")
    parser.add_argument("--table", action="store_true", help="print the table of the report, and play nothing")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the processes, too
    if options.table:
        print(report.table(map(json.loads, options.report.read_text(encoding="utf-8").splitlines())))
        return 0
    choices = FAULTS | RARE | (RELEASES if options.beside else {})
    unknown = set(options.fault) - choices.keys()
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}. Known: {', '.join(choices)}")
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # the test's own clients, while the broker is away
    options.seed = secrets.randbelow(10**8) if options.seed is None else options.seed
    options.report.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="hookstream-faults-", ignore_cleanup_errors=True) as folder:
        rounds = asyncio.run(play(options, options.keep or Path(folder)))
    say(report.table(map(report.record, rounds)))
    broken = [played for played in rounds if played.verdict.broken]
    for played in broken:
        say(f"broken: --seed {played.seed} " + " ".join(f"--fault '{name}'" for name in played.faults))
    return 1 if broken or not rounds else 0


if __name__ == "__main__":
    sys.exit(main())
