"""Starts the VoxScriber Flask receiver: the secret is in WEBHOOK_SECRET; prints its port; ends when its stdin does.

The snippet is the product's own, unchanged; added are the names that it leaves to its reader.
"""

from __future__ import annotations

import logging
import os
import runpy
import sys
import threading
from pathlib import Path

from werkzeug.serving import make_server

_SNIPPET = Path(__file__).parent / "snippets" / "voxscriber.flask.txt"


def main() -> None:
    given = {"os": os, "process_transcription": _ignore, "handle_failure": _ignore}
    app = runpy.run_path(str(_SNIPPET), init_globals=given, run_name="receiver")["app"]
    logging.getLogger("werkzeug").disabled = True
    server = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.read()


def _ignore(data: object) -> None:
    """What becomes of the data is the reader's business."""


if __name__ == "__main__":
    main()
