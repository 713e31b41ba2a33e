"""`hookstream` commands as processes of their own."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.harness import HOOKSTREAM
from tests.patience import PATIENCE_S

#: the code beside these tests, wherever they run
_BESIDE = str(Path(__file__).parents[2])


@dataclass
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Its one JSON document."""
        return json.loads(self.out)


async def hookstream(
    *words: str, environ: Mapping[str, str] | None = None, stdin: str = "", expect: int | None = 0
) -> Ended:
    process = await asyncio.create_subprocess_exec(
        HOOKSTREAM,
        *words,
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "PYTHONPATH": _BESIDE, **(environ or {})},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(stdin.encode()), PATIENCE_S)
    ended = Ended(process.returncode or 0, out.decode(), err.decode())
    assert expect in (None, ended.code), ended
    return ended
