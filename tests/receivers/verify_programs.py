"""Programs around the code that receivers verify with: one for each language, which answers a line for a request."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from app.profiles.receiver_code.snippets import Snippet
from tests.patience import PATIENCE_S
from tests.receivers.verify_requests import SignedRequest

_DRIVERS = Path(__file__).parent / "verify"


class Toolchain(NamedTuple):
    """How a snippet becomes a program."""

    driver: str
    run: tuple[str, ...]
    build: tuple[str, ...] = ()
    #: where the snippet goes, below the program's folder
    folder: str = "."

    @property
    def missing(self) -> list[str]:
        """The tools that this machine lacks."""
        commands = {each[0] for each in (self.build, self.run) if each and not each[0].startswith("./")}
        return sorted(each for each in commands if shutil.which(each) is None)


TOOLCHAINS = {
    "python": Toolchain("drive.py", (sys.executable, "drive.py")),
    "node": Toolchain("drive.js", ("node", "drive.js")),
    "go": Toolchain("main.go", ("./receiver",), ("go", "build", "-o", "receiver", "."), "webhook"),
    "java": Toolchain("Drive.java", ("java", "-cp", ".", "Drive"), ("javac", "Drive.java", "WebhookSignature.java")),
    "php": Toolchain("drive.php", ("php", "drive.php")),
    "ruby": Toolchain("drive.rb", ("ruby", "drive.rb")),
    "csharp": Toolchain(
        "Drive.cs", ("mono", "drive.exe"), ("mcs", "-out:drive.exe", "Drive.cs", "WebhookSignature.cs")
    ),
}


def wrong_answers(snippet: Snippet, requests: list[SignedRequest], folder: Path) -> dict[str, str]:
    """Case → answer, where the snippet answers wrongly; `folder` is empty."""
    toolchain = TOOLCHAINS[snippet.language]
    shutil.copy(_DRIVERS / toolchain.driver, folder)
    beside = folder / toolchain.folder
    beside.mkdir(exist_ok=True)
    (beside / snippet.file_name).write_text(snippet.code, encoding="utf-8")
    if snippet.language == "go":
        (folder / "go.mod").write_text("module receiver\n\ngo 1.22\n", encoding="utf-8")
    if toolchain.build:
        _run(toolchain.build, folder, "")
    answers = _run(toolchain.run, folder, "".join(each.line() for each in requests)).splitlines()
    assert len(answers) == len(requests), answers
    return {
        each.case: answer for each, answer in zip(requests, answers, strict=True) if answer != str(each.genuine).lower()
    }


def _run(command: tuple[str, ...], folder: Path, lines: str) -> str:
    done = subprocess.run(command, cwd=folder, input=lines, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
