"""Whether the key ring of this process is the one that sealed the secrets of the registry.

A ring with the same key id and other bytes opens nothing, and nobody would say so: deliveries only fail one by one.
"""

from __future__ import annotations

from collections.abc import Callable

from app.core.errors import ConfigError
from app.core.model.endpoint import Endpoint, SealedSecret

#: the latest secrets of each key that are remembered: one of them that opens proves the key
_SAMPLES = 16


class SealedSamples:
    """The latest secrets that each key of the ring has sealed, by the key's id."""

    def __init__(self) -> None:
        self._by_key: dict[str, dict[str, SealedSecret]] = {}

    def note(self, endpoint: Endpoint) -> None:
        """Remember an endpoint's secrets that do not expire; those that do may be of a key that was removed."""
        owner = f"{endpoint.tenant}/{endpoint.id}"
        for sealed in endpoint.secrets:
            if sealed.expires_at_ms is None:
                samples = self._by_key.setdefault(sealed.key_id, {})
                samples.pop(owner, None)
                samples[owner] = sealed
                if len(samples) > _SAMPLES:
                    del samples[next(iter(samples))]

    def problem(self, open_secret: Callable[[SealedSecret, str], str]) -> str | None:
        """Why secrets cannot be opened, if none of a key's samples can; None: the ring fits, or nothing is sealed."""
        for samples in self._by_key.values():
            refusal = None
            for owner, sealed in samples.items():
                try:
                    open_secret(sealed, owner)
                except ConfigError as error:
                    refusal = str(error)
                else:
                    refusal = None
                    break
            if refusal is not None:
                return (
                    f"{refusal}: this process has another key ring than the one that sealed it. Give every process the "
                    "same HOOKSTREAM_SECRET_KEYS, or rotate the secrets"
                )
        return None


def newest_secret_problem(endpoint: Endpoint, open_secret: Callable[[SealedSecret, str], str]) -> str | None:
    """Why the secret that an endpoint got last cannot be opened here; None: it can, or there is none."""
    if not endpoint.secrets:
        return None
    newest = max(endpoint.secrets, key=lambda each: each.created_at_ms)
    try:
        open_secret(newest, f"{endpoint.tenant}/{endpoint.id}")
    except ConfigError as error:
        return f"secret: {error}: whoever sealed it has another key ring (HOOKSTREAM_SECRET_KEYS) than the registry"
    return None
