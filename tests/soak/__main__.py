"""`make soak`: mixed load against a whole service for an hour, with restarts; does anything grow, is anything lost?

Each role is a process of its own on one Kafka, as in `make test-faults`. Three tenants at a time send events at a
steady rate to endpoints of all kinds: steady, ordered, slow, dead, failing for minutes, hanging for minutes. About
every ten minutes new tenants take their place, and a span of time is replayed. Every three minutes a process is
restarted, and now and then one is killed.

At the end: used memory flat (slope below 1 MiB/h in runs of 20 minutes and more), no more descriptors and threads,
connections to receivers closed, lag and waiting retries 0, and for each event and endpoint exactly one end: delivered
or dead. Repeated requests are within the bounds of docs/guarantees.md, ordered endpoints got their events in order.

Ctrl-C ends the load, waits for what is still open, and prints the tables; a second one does not wait. The exit code
is 1 if anything was broken. Examples:

  make soak                                  # an hour at 60 events/s
  make soak ARGS='--minutes 3'               # a quick look: everything is judged but growth
  make soak ARGS='--minutes 30 --rate 150'
  make soak ARGS='--minutes 20 --trace fanout --keep /tmp/soak'   # then: kill -USR1 <its pid>, see fanout/heap.txt
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import secrets
import signal
import sys
import tempfile
from pathlib import Path

from tests.faults.cluster import say
from tests.faults.faults import ROLES
from tests.soak import report
from tests.soak.course import Soak, SoakCluster

OUT = Path(".cache/soak.json")


async def soak(options: argparse.Namespace, folder: Path) -> int:
    """Run, and print what was seen; 0: nothing was broken."""
    run = Soak(SoakCluster(folder, options.trace), minutes=options.minutes, rate=options.rate, seed=options.seed)
    running = asyncio.create_task(run.run())

    def interrupt() -> None:
        if run.stop.is_set():
            running.cancel()
            return
        say("the load ends; the tables follow when nothing is open any more (once more: at once)")
        run.stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt)
    await asyncio.gather(running, return_exceptions=True)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(report.record(run.outcome, run.samples)), encoding="utf-8")
    say("\n" + report.tables(run.outcome) + f"\nwritten to {OUT}")
    return 1 if run.outcome.broken else 0


def positive(text: str) -> float:
    """A number above 0."""
    number = float(text)
    if not 0 < number < 100_000:
        raise ValueError(text)
    return number


def main() -> int:
    """0: nothing was broken."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=positive, default=60.0, help="of load; the drain comes on top (default 60)")
    parser.add_argument("--rate", type=positive, default=60.0, help="events per second in all (default 60)")
    parser.add_argument("--seed", type=int, default=None, help="of events, receivers and disturbances")
    parser.add_argument("--trace", default="", choices=("", *ROLES), metavar="PROCESS", help="trace its allocations")
    parser.add_argument("--keep", type=Path, default=None, help="folder for the broker's and the service's files")
    options = parser.parse_args()
    options.seed = secrets.randbelow(10**5) if options.seed is None else options.seed
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    say(f"seed {options.seed}, {options.minutes:g} minutes, {options.rate:g} events/s")
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="hookstream-soak-", ignore_cleanup_errors=True) as folder:
        return asyncio.run(soak(options, options.keep or Path(folder)))


if __name__ == "__main__":
    sys.exit(main())
