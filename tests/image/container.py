"""Run a command in an image as a container engine does: another user, no rights, a root that cannot be written."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.patience import LOOKS, PATIENCE_S

#: the root is made read-only after its volumes are mounted; `docker run` does the same
_RUN = """
root=$1 volume=$2 user=$3 here=$4
shift 4
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount --bind "$volume" "$root/var/lib/hookstream"
mount -o remount,bind,ro "$root"
exec chroot "$root" setpriv --reuid="$user" --regid="$user" --clear-groups --no-new-privs \
    --inh-caps=-all --bounding-set=-all env --chdir="$here" "$@"
"""


class Image:
    """A built image with one volume."""

    def __init__(self, root: Path, volume: Path, user: int, here: str, environ: Mapping[str, str]) -> None:
        self._root = root
        self._volume = volume
        self._user = user
        self._here = here
        self.environ = dict(environ)
        volume.mkdir(parents=True, exist_ok=True)
        volume.chmod(0o700)
        subprocess.run(["chown", f"{user}:{user}", volume], check=True)

    def command(self, words: Sequence[str]) -> list[str]:
        """The command that runs words in a container."""
        namespaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec", _RUN, "sh"]
        return [*namespaces, str(self._root), str(self._volume), str(self._user), self._here, *words]

    def run(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run words to their end."""
        return subprocess.run(
            self.command(words),
            env=self.environ | variables,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    @contextmanager
    def running(self, *words: str, **variables: str) -> Iterator[Container]:
        """Run words until the block ends."""
        with subprocess.Popen(self.command(words), env=self.environ | variables) as process:
            container = Container(process)
            try:
                yield container
            finally:
                if process.poll() is None:
                    container.signal(signal.SIGKILL)


class Container:
    """A running container."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to its process 1."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text(encoding="utf-8")
        (first,) = children.split()
        subprocess.run(["kill", f"-{number.value}", first], check=True)

    def stop(self) -> int:
        """SIGTERM to its process 1, as `docker stop` sends it; the exit code."""
        self.signal(signal.SIGTERM)
        return self._process.wait(PATIENCE_S)

    def until(self, image: Image, words: Sequence[str], **variables: str) -> None:
        """Run words in the image, again and again, until they end well."""
        for _ in range(LOOKS):
            assert self._process.poll() is None, f"the container has ended: {self._process.returncode}"
            done = image.run(*words, **variables)
            if done.returncode == 0:
                return
            time.sleep(0.5)  # a foreign process leaves no other way than to ask again
        raise AssertionError(done.stderr)
