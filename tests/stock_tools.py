"""Kafka's own command line tools, which run the commands of a shell script against a broker."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from app.embedded.broker import jars, kraft
from tests.secure_broker import Acl, SecureBroker

_PROGRAM = Path(__file__).with_name("StockTools.java")
#: takes the place of a tool: writes down its words, so that one JVM can run the commands of the whole script
_STAND_IN = r"""#!/bin/sh
{ printf '%s' "${0##*/}"; for word; do printf '\037%s' "$word"; done; echo; } >>"$COMMANDS"
"""
_RESOURCE = re.compile(r"resourceType=(\w+), name=(.+), patternType=(?:LITERAL|PREFIXED)\)")
_ENTRY = re.compile(r"\(principal=User:(.+), host=\*, operation=(\w+), permissionType=ALLOW\)")


class StockTools:
    """Runs scripts with `kafka-acls.sh` and `kafka-topics.sh` as an administrator of a secured broker."""

    def __init__(self, broker: SecureBroker, folder: Path, cache: Path) -> None:
        """`folder` is created for files of their own; `cache` has Kafka's jars."""
        self._folder = folder
        self._cache = cache
        self._environ = {"KAFKA": broker.address("sasl_ssl"), "ADMIN": str(folder / "admin.properties")}
        (folder / "bin").mkdir(parents=True)
        for name in ("kafka-acls.sh", "kafka-topics.sh"):
            (folder / "bin" / name).write_text(_STAND_IN)
            (folder / "bin" / name).chmod(0o755)
        (folder / "admin.properties").write_text(
            "security.protocol=SASL_SSL\n"
            "sasl.mechanism=PLAIN\n"
            "sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required "
            'username="plain" password="plain-secret";\n'
            f"ssl.truststore.type=PEM\nssl.truststore.location={broker.authority.ca_file}\n"
        )

    async def run(self, script: str) -> list[str]:
        """Run a script of the shell; the output of each of its commands."""
        commands = self._folder / "commands"
        commands.write_bytes(b"")
        environ = {**self._environ, "COMMANDS": str(commands)}
        path = f"{self._folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        await _run("sh", "-eu", "-c", script, environ={"PATH": path, **environ})
        runtime = kraft.Runtime(
            java=await jars.find_java(shutil.which),
            jars=await jars.resolve(self._cache, say=print, which=shutil.which),
            cache=self._cache,
        )
        text = await _run(
            *runtime.command(str(_PROGRAM)), stdin=commands.read_bytes(), folder=self._folder, environ=dict(os.environ)
        )
        return text.split("\x1e\n")[:-1]

    async def acls(self) -> set[Acl]:
        """All permissions of the broker."""
        (listed,) = await self.run('kafka-acls.sh --bootstrap-server "$KAFKA" --command-config "$ADMIN" --list')
        permissions = set()
        for part in listed.split("Current ACLs for resource")[1:]:
            resource = _RESOURCE.search(part)
            assert resource is not None, part
            kind, name = _words(resource[1]), resource[2]
            entries = [line.strip() for line in part.splitlines()[1:] if line.strip()]
            for entry in entries:
                read = _ENTRY.fullmatch(entry)
                assert read is not None, entry
                permissions.add(Acl(read[1], kind, name, _operation(read[2])))
        return permissions


def _words(constant: str) -> str:
    return constant.lower().replace("_", "-")


def _operation(constant: str) -> str:
    return constant.title().replace("_", "")


async def _run(*words: str, environ: Mapping[str, str], stdin: bytes | None = None, folder: Path | None = None) -> str:
    process = await asyncio.create_subprocess_exec(
        *words,
        env=environ,
        cwd=folder,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate(stdin or b"")
    assert process.returncode == 0, f"exit code {process.returncode}\n{out.decode()}\n{err.decode()}"
    return out.decode()
