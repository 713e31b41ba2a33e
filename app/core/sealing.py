"""Check that the key ring of this process can open the secrets in the registry.

With a ring of the same key ids and other keys, deliveries would only fail one by one, for no apparent reason.
"""

from __future__ import annotations

from collections.abc import Callable

from app.core.errors import ConfigError
from app.core.model.endpoint import Endpoint, SealedSecret

#: secrets per key that are sampled: if one of them can be opened, the key is right
_SAMPLES = 16


class SealedSamples:
    """The latest secrets that were sealed by each key."""

    def __init__(self) -> None:
        self._by_key: dict[str, dict[str, SealedSecret]] = {}

    def note(self, endpoint: Endpoint) -> None:
        """Sample an endpoint's sealed values, except those that expire: their key may have been removed."""
        owner = endpoint.secret_owner
        for sealed in endpoint.sealed:
            if sealed.expires_at_ms is None:
                samples = self._by_key.setdefault(sealed.key_id, {})
                samples.pop(owner, None)
                samples[owner] = sealed
                if len(samples) > _SAMPLES:
                    del samples[next(iter(samples))]

    def problem(self, open_secret: Callable[[SealedSecret, str], str]) -> str | None:
        """Why no sample of some key can be opened; None if every key fits, or nothing is sealed."""
        for samples in self._by_key.values():
            reason = None
            for owner, sealed in samples.items():
                try:
                    open_secret(sealed, owner)
                except ConfigError as error:
                    reason = str(error)
                else:
                    reason = None
                    break
            if reason is not None:
                return (
                    f"{reason}: it was sealed with another key ring than that of this process. Give every process the "
                    "same HOOKSTREAM_SECRET_KEYS, or rotate the secrets"
                )
        return None


def newest_secret_problem(endpoint: Endpoint, open_secret: Callable[[SealedSecret, str], str]) -> str | None:
    """Why an endpoint's newest secret or signing key, a header value or the secret of `auth` cannot be opened."""
    newest: list[tuple[str, SealedSecret]] = []
    for sealed_ones in filter(None, (endpoint.secrets, endpoint.signing_keys)):
        newest.append(("secret", max(sealed_ones, key=lambda each: each.created_at_ms)))
    newest += [("headers", sealed) for sealed in endpoint.sealed_headers.values()]
    if endpoint.sealed_auth is not None:
        newest.append(("auth", endpoint.sealed_auth))
    for field, sealed in newest:
        try:
            open_secret(sealed, endpoint.secret_owner)
        except ConfigError as error:
            return (
                f"{field}: {error}: it was sealed with another key ring (HOOKSTREAM_SECRET_KEYS) than that of the "
                "registry"
            )
    return None
