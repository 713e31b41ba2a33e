"""Carry out the instructions of a stage in a folder that becomes its root."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path

from tests.image.dockerfile import Instruction, Stage, assignments, expanded

#: what a container engine lends to the commands of a build: devices, processes, name servers, certificates
_RUN = """
mount -t proc proc "$1/proc"
mount --rbind /dev "$1/dev"
for file in /etc/resolv.conf /etc/ssl/certs/ca-certificates.crt; do
    touch "$1$file" && mount --bind "$file" "$1$file"
done
exec chroot "$1" /bin/sh -c "cd '$2' && $3"
"""
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Build:
    """A build of all stages below one folder."""

    def __init__(self, context: Path, base: Path, folder: Path) -> None:
        self._context = context
        self._base = base
        self._folder = folder
        self.variables: dict[str, str] = {}
        self._arguments: dict[str, str] = {}
        self._here = "/"

    def root(self, stage: str) -> Path:
        """The root of a stage; the last stage has no name."""
        return self._folder / (stage or "image")

    def stage(self, stage: Stage) -> None:
        """Build a stage."""
        root = self.root(stage.name)
        shutil.rmtree(root, ignore_errors=True)
        self._folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "--archive", self._base, root], check=True)
        self.variables, self._arguments, self._here = {"PATH": _PATH, "LANG": "C.UTF-8"}, {}, "/"
        for each in stage.instructions:
            self._carry_out(root, each)

    def _carry_out(self, root: Path, instruction: Instruction) -> None:
        match instruction:
            case ("ENV", rest):
                for name, value in assignments(rest):
                    self.variables[name] = expanded(value, self.variables)
            case ("ARG", rest):
                name, _, default = rest.partition("=")
                self._arguments[name] = default
            case ("WORKDIR", folder):
                self._here = folder
                (root / folder.lstrip("/")).mkdir(parents=True, exist_ok=True)
            case ("COPY", rest):
                self._copy(root, rest)
            case ("RUN", command):
                self._run(root, command)
            case _:
                pass  # what a container is started with

    def _copy(self, root: Path, rest: str) -> None:
        *sources, target = rest.split()
        origin = self._context
        if sources[0].startswith("--from="):
            origin = self.root(sources.pop(0).removeprefix("--from="))
        aim = root / os.path.join(self._here, target).lstrip("/")
        for source in sources:
            path = origin / source.lstrip("/")
            if origin == self._context and not sent(self._context, source):
                raise FileNotFoundError(f"COPY {source}: .dockerignore leaves it out")
            if path.is_dir():
                shutil.copytree(path, aim, symlinks=True, dirs_exist_ok=True, ignore=_left_out)
            else:
                folder = aim if target.endswith("/") else aim.parent
                folder.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, folder / path.name if target.endswith("/") else aim)

    def _run(self, root: Path, command: str) -> None:
        namespaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec", _RUN, "sh"]
        environ = lent(os.environ) | self._arguments | self.variables
        subprocess.run([*namespaces, str(root), self._here, command], env=environ, check=True)


def lent(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that say how pip reaches its index on this machine."""
    return {name: value for name, value in environ.items() if name.startswith("PIP_") and "FIND_LINKS" not in name}


def sent(context: Path, name: str) -> bool:
    """Whether .dockerignore lets a file or folder reach the builder."""
    lines = (context / ".dockerignore").read_text(encoding="utf-8").splitlines()
    kept = [line.removeprefix("!") for line in lines if line.startswith("!")]
    return any(fnmatch(name.rstrip("/"), each) for each in kept)


def _left_out(folder: str, names: list[str]) -> set[str]:
    return {name for name in names if name == "__pycache__"}
