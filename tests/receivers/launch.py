"""Starts the real receivers and the Node oracles, and ends them again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

from tests.patience import PATIENCE_S

HERE = Path(__file__).parent
_WAY_OUT = "Node 20 or later is needed for the real receivers: install your system's package for it"


def install() -> None:
    """Fetch the receivers' packages unless what is there fits the lock file."""
    done = HERE / "node_modules" / ".package-lock.json"
    lock = HERE / "package-lock.json"
    if not done.exists() or done.stat().st_mtime < lock.stat().st_mtime:
        _tool("node")
        subprocess.run(
            [_tool("npm"), "ci", "--no-audit", "--no-fund", "--ignore-scripts"],
            cwd=HERE,
            check=True,
            stdout=subprocess.DEVNULL,
        )


@contextmanager
def receiver(name: str, secret: str, log: Path) -> Iterator[str]:
    """The URL of a running receiver that knows `secret`; what it complains about goes to the file `log`."""
    if name == "flask":
        command, path = [sys.executable, str(HERE / "serve_flask.py")], "/webhook/voxscriber"
    elif name.startswith("inbox"):
        command, path = [sys.executable if name == "inbox.py" else _tool("node"), str(HERE / f"serve_{name}")], "/"
    else:
        install()
        command = [_tool("node"), str(HERE / "serve.js"), name]
        path = "/webhook/voxscriber" if name == "voxscriber" else "/"
    environment = {**os.environ, "WEBHOOK_SECRET": secret}
    with log.open("wb") as complaints, _process(command, environment, complaints.fileno()) as process:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        assert port.isdigit(), f"{name} did not start: {log.read_text()}"
        yield f"http://127.0.0.1:{int(port)}{path}"


@contextmanager
def cloudevents_receiver(allowed: str) -> Iterator[str]:
    """The base URL of a receiver that agrees to deliveries from the host of the URL `allowed`, below `/hooks`."""
    install()
    with _process([_tool("node"), str(HERE / "serve_cloudevents.js"), allowed], None, None) as process:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        assert port.isdigit(), "the receiver did not start"
        yield f"http://127.0.0.1:{int(port)}"


class Oracle:
    """A Node script that answers each line with a line."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def ask(self, questions: Sequence[object]) -> list[bytes]:
        """One answer for each question (sent as JSON), in order."""
        assert self._process.stdin is not None and self._process.stdout is not None
        # ASCII only: Node's readline takes U+2028 for the end of a line.
        lines = "".join(json.dumps(question) + "\n" for question in questions).encode("ascii")
        writer = Thread(target=self._write, args=(lines,))  # beside the reading: both pipes may be full
        writer.start()
        answers = [self._process.stdout.readline().rstrip(b"\n") for _ in questions]
        writer.join()
        return answers

    def _write(self, lines: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(lines)
        self._process.stdin.flush()


@contextmanager
def oracle(script: str) -> Iterator[Oracle]:
    """A running oracle; `script` is a file beside this one."""
    with _process([_tool("node"), str(HERE / script)], None, None) as process:
        yield Oracle(process)


@contextmanager
def _process(
    command: list[str], environment: dict[str, str] | None, errors: int | None
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
    assert process.stdin is not None and process.stdout is not None
    try:
        yield process
    finally:
        process.stdin.close()  # which is its signal to end
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        finally:
            process.stdout.close()


def _tool(name: str) -> str:
    found = shutil.which(name)
    assert found is not None, f"{name} is missing. {_WAY_OUT}"
    return found
