"""`python -m monitoring` writes all generated files of monitoring; `make generate` calls it, too.

`python -m monitoring --runbooks ADDRESS` prints the rules with the runbooks at that address, and writes nothing.
"""

from __future__ import annotations

import argparse

from monitoring import rules_file
from monitoring.files import FILES
from monitoring.rule import runbooks_at


def main() -> None:
    """Write the files, or print the rules."""
    parser = argparse.ArgumentParser(prog="python -m monitoring", description="Write the generated files.")
    parser.add_argument(
        "--runbooks",
        metavar="ADDRESS",
        type=runbooks_at,
        help="print the rules with this address in runbook_url, such as https://wiki.example.com/hookstream/{alert}; "
        "without {alert}, /{alert}.md is appended",
    )
    chosen = parser.parse_args()
    if chosen.runbooks:
        print(rules_file.text(chosen.runbooks), end="")
        return
    for path, text in FILES.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text(), encoding="utf-8")


if __name__ == "__main__":
    main()
