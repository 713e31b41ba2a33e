"""The Python inbox behind HTTP: the secret is in WEBHOOK_SECRET; prints its port; GET gives what was told so far, as
[[event id, verdict], …]; ends when its stdin does.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_SNIPPETS = Path(__file__).parent / "snippets"
sys.path.insert(0, str(_SNIPPETS))  # the inbox imports the file that verifies
INBOX = runpy.run_path(str(_SNIPPETS / "inbox.py"))["Inbox"](os.environ["WEBHOOK_SECRET"])
TOLD: list[tuple[str, str]] = []


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers["content-length"]))
        self._answer(INBOX.receive(headers, body, lambda event, verdict: TOLD.append((headers["webhook-id"], verdict))))

    def do_GET(self) -> None:
        self._answer(200, json.dumps(TOLD).encode())

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.read()
