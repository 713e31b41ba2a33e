"""Opens TCP connections to receivers, without a request: does egress work from here?"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from urllib.parse import urlsplit

from app.adapters.http.dns import NameResolver
from app.adapters.http.egress_guard import BlockedAddress, address_check, guard
from app.adapters.http.egress_proxy import EgressProxy
from app.core.diagnosis.surroundings import Connection
from app.core.egress import EgressPolicy
from app.core.errors import Hindered

#: seconds for one receiver: its name, and all of its addresses
_EACH_S = 5.0
#: addresses of one name that are tried
_ADDRESSES = 3


async def connections(
    urls: Sequence[str], policy: EgressPolicy, resolver: NameResolver, proxy: EgressProxy | None = None
) -> dict[str, Connection]:
    """URL → the result of a connection to its host and port; all at the same time, each bounded."""
    results = await asyncio.gather(*(_connection(url, policy, resolver, proxy) for url in urls))
    return dict(zip(urls, results, strict=True))


async def _connection(url: str, policy: EgressPolicy, resolver: NameResolver, proxy: EgressProxy | None) -> Connection:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    failure = Connection(outcome="failed", reason=f"no connection within {_EACH_S:g} s")
    try:
        async with asyncio.timeout(_EACH_S):
            for address in (await resolver.resolve(parts.hostname or "", port))[:_ADDRESSES]:
                if proxy is not None and proxy.covers(parts.hostname or "", port):
                    failure = await _through(proxy, address["family"], address["host"], port, policy)
                else:
                    failure = await _try(address["family"], address["host"], port, policy)
                if failure.outcome == "connected":
                    return failure
    except TimeoutError:
        pass
    except (OSError, Hindered) as error:
        failure = Connection(outcome="failed", reason=_reason(error))
    return failure


async def _try(family: int, host: str, port: int, policy: EgressPolicy) -> Connection:
    place = (host, port) if family == socket.AF_INET else (host, port, 0, 0)
    try:
        with guard(policy)((family, socket.SOCK_STREAM, 0, "", place)) as connection:
            connection.setblocking(False)
            await asyncio.get_running_loop().sock_connect(connection, place)
    except BlockedAddress as error:
        return Connection(outcome="blocked", reason=_reason(error))
    except OSError as error:
        return Connection(outcome="failed", reason=_reason(error))
    return Connection(outcome="connected")


async def _through(proxy: EgressProxy, family: int, host: str, port: int, policy: EgressPolicy) -> Connection:
    try:
        address_check(policy)(family, (host, port))
        (await proxy.open(host, port)).abort()
    except BlockedAddress as error:
        return Connection(outcome="blocked", reason=_reason(error))
    except OSError as error:
        return Connection(outcome="failed", reason=_reason(error))
    return Connection(outcome="connected")


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).rstrip(".") + "."
