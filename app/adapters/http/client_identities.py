"""TLS client certificates: each identity has a TLS context and connections of its own.

An identity is an endpoint's id with its certificate, key and authority. Two endpoints never share one, even if they
have the same certificate: a receiver must not see events of one endpoint on the connection of another.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, TypeVar

from app.adapters.http.egress_guard import trust
from app.core.model.http_exchange import TlsIdentity

#: identities whose contexts are in memory; one takes about 1 MiB, most of it for the system's authorities
MAX_IDENTITIES = 256

T = TypeVar("T")


class ClientIdentities(Generic[T]):
    """The targets of endpoints with client certificates; the least recently used are forgotten."""

    def __init__(self, ca_file: Path | None, target: Callable[[str, ssl.SSLContext], T]) -> None:
        """`target` returns a new target of a URL, with connections that nothing else uses."""
        self._ca_file = ca_file
        self._new_target = target
        self._targets: dict[tuple[str, str], T] = {}
        self._building = asyncio.Lock()

    async def target(self, url: str, identity: TlsIdentity) -> T:
        """The target of a URL. Raises `ssl.SSLError` for a certificate or key that OpenSSL does not take."""
        place = (identity.key, url)
        target = self._targets.pop(place, None)
        if target is None:
            async with self._building:  # of a burst the first one builds it
                target = self._targets.pop(place, None)
                if target is None:  # reading the authorities takes a while
                    context = await asyncio.to_thread(client_context, identity, self._ca_file)
                    target = self._new_target(url, context)
        self._targets[place] = target
        if len(self._targets) > MAX_IDENTITIES:
            del self._targets[next(iter(self._targets))]
        return target


def client_context(identity: TlsIdentity, ca_file: Path | None = None) -> ssl.SSLContext:
    """A context that presents the certificate. With an authority of its own it trusts no other one.

    Raises `ssl.SSLError` for a certificate or key that OpenSSL does not take.
    """
    if identity.authority is None:
        context = trust(ca_file)
    else:
        context = ssl.create_default_context(cadata=identity.authority)
        context.set_alpn_protocols(["http/1.1"])
    with _file(f"{identity.certificate}\n{identity.private_key}".encode()) as path:
        context.load_cert_chain(path, password=_no_password)
    return context


def _no_password() -> bytes:
    """Without it, OpenSSL would ask for the password of an encrypted key on the terminal."""
    return b""


@contextmanager
def _file(content: bytes) -> Iterator[str]:
    """A path from which the content can be read: in memory where the system can, since it holds a private key."""
    if hasattr(os, "memfd_create") and Path("/proc/self/fd").is_dir():
        descriptor = os.memfd_create("certificate")
        try:
            os.write(descriptor, content)
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
    else:
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            yield file.name
