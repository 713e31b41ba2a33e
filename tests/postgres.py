"""A PostgreSQL of the tests' own, from the system's package, under a user that is not root (it refuses root)."""

from __future__ import annotations

import asyncio
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import asyncpg

from tests.patience import PATIENCE_S
from tests.ports import free_port

#: Debian's package installs servers beside each other, outside of PATH
_FOLDERS = "/usr/lib/postgresql/*/bin"


class Postgres:
    """A server on a free port of this machine; data is not meant to last."""

    def __init__(self) -> None:
        self._programs = _programs()
        self._user = "postgres" if os.geteuid() == 0 else None
        self._folder = Path(tempfile.mkdtemp(prefix="hookstream-postgres-"))
        self._server: subprocess.Popen[bytes] | None = None
        self.port = 0

    def create(self) -> None:
        """Make its data folder."""
        if self._user is not None:
            owner = pwd.getpwnam(self._user)
            os.chown(self._folder, owner.pw_uid, owner.pw_gid)
        subprocess.run(
            [
                self._programs / "initdb",
                "--pgdata",
                self._folder / "data",
                "--auth=trust",
                "--username=hookstream",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--no-sync",
            ],
            check=True,
            capture_output=True,
            user=self._user,
            cwd="/",
        )

    async def start(self) -> None:
        """Start it, on the same port as before, and wait until it answers."""
        self.port = self.port or free_port()
        options = ["-p", str(self.port), "-h", "127.0.0.1", "-k", str(self._folder), "-c", "fsync=off"]
        with (self._folder / "log").open("ab") as log:
            self._server = subprocess.Popen(
                [self._programs / "postgres", "-D", self._folder / "data", *options],
                stdout=subprocess.DEVNULL,
                stderr=log,
                user=self._user,
                cwd="/",
            )
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    await (await asyncpg.connect(self.url("postgres"), timeout=5)).close()
                    return
                except (OSError, asyncpg.PostgresError):
                    assert self._server.poll() is None, (self._folder / "log").read_text()
                    await asyncio.sleep(0.05)

    def url(self, database: str) -> str:
        """Where a database of it is."""
        return f"postgresql://hookstream@127.0.0.1:{self.port}/{database}"

    async def database(self) -> str:
        """The URL of a fresh database."""
        name = f"t{secrets.token_hex(6)}"
        connection = await asyncpg.connect(self.url("postgres"))
        try:
            await connection.execute(f"CREATE DATABASE {name}")
        finally:
            await connection.close()
        return self.url(name)

    def stop(self) -> None:
        """End it at once; `start` again finds what was committed."""
        if self._server is not None:
            self._server.send_signal(signal.SIGINT)
            self._server.wait(PATIENCE_S)
            self._server = None

    def remove(self) -> None:
        """End it, and leave nothing behind."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)


def _programs() -> Path:
    found = shutil.which("initdb")
    if found is not None and shutil.which("postgres") is not None:
        return Path(found).resolve().parent
    folders = [path for path in Path("/").glob(_FOLDERS[1:]) if (path / "initdb").exists()]
    assert folders, "PostgreSQL is not installed: scripts/bootstrap does it (package postgresql)"
    return max(folders, key=lambda path: int(path.parent.name))
