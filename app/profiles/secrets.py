"""Whether an endpoint's secrets fit the scheme that signs its requests."""

from __future__ import annotations

from collections.abc import Callable

from app.core.errors import ConfigError
from app.core.model.endpoint import Endpoint, SealedSecret
from app.profiles.catalog import PROFILES


def secret_problem(endpoint: Endpoint, open_secret: Callable[[SealedSecret, str], str], now_ms: int) -> str | None:
    """What keeps the endpoint's requests from being signed, in one sentence; None: nothing that this process can see.

    A secret that no key here opens is the operator's trouble, and does not speak against the combination.
    """
    signer = PROFILES.get(endpoint.signer)
    if signer is None:
        return None  # an unknown name is refused on its own account
    valid = [each for each in endpoint.secrets if each.expires_at_ms is None or each.expires_at_ms > now_ms]
    if not valid and signer.secret_required:
        return f"signature: {signer.name} always signs, and the endpoint has no secret: rotate its secret first"
    for sealed in valid:
        try:
            plain = open_secret(sealed, endpoint.secret_owner)
        except ConfigError:
            continue
        try:
            signer.key(plain)
        except ConfigError as error:
            why = "; ".join(error.problems).removeprefix("secret: ")
            return f"signature: {signer.name} cannot sign with the endpoint's secret: {why}"
    return None
