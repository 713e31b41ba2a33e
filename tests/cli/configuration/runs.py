"""Commands in this process, against an API that this process serves."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from app.cli.connect import process_context
from app.cli.main import program
from tests.dashboard.stage import OPERATOR, Stage


@dataclass
class Result:
    """How a command ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


class Commands:
    """Commands with the address of a stage, in a folder of their own."""

    def __init__(self, stage: Stage, folder: Path) -> None:
        self.stage = stage
        self.folder = folder

    async def __call__(self, *words: str, key: str = OPERATOR, stdin: str = "") -> Result:
        line = [*words, "--url", self.stage.url, "--key", key]
        process_context.settings.cache_clear()
        done = await asyncio.to_thread(CliRunner().invoke, program(line), line, input=stdin)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return Result(done.exit_code, done.stdout, done.stderr)

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    async def apply(self, text: str, *words: str, key: str = OPERATOR, name: str = "hookstream.yaml") -> Result:
        """Apply one file."""
        return await self("apply", "-f", str(self.write(name, text)), *words, key=key)
