"""`make bench`: all measurements, each beside what it is compared with, as a table and as .cache/bench.json."""

from __future__ import annotations

import argparse

import uvloop

from tests.bench import dispatch
from tests.bench.stage import stage


async def main(options: argparse.Namespace) -> None:
    async with stage() as ready:
        runs = await dispatch.measure(ready, options.rounds, profile=options.profile)
        for k, v in runs.items():
            print(k, [(round(r.per_second), round(r.cpu_us, 1)) for r in v])
            if options.profile:
                print(v[-1].profile)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    uvloop.run(main(parser.parse_args()))
