"""Whether an endpoint's secrets fit the scheme that signs its requests."""

from __future__ import annotations

from collections.abc import Callable

from app.core.errors import ConfigError
from app.core.model.endpoint import Endpoint, SealedSecret, in_use
from app.core.model.endpoint_settings import SigningScheme
from app.profiles.catalog import PROFILES
from app.profiles.contract import Profile
from app.profiles.signatures import ListedSignatures


def can_sign_v1a(signer: Profile) -> bool:
    """Whether the profile's signature header has room for several schemes."""
    return isinstance(signer.headers, ListedSignatures)


def scheme_problem(scheme: SigningScheme, signer: Profile) -> str | None:
    """Why a scheme cannot be sent with the profile's signature, in one sentence; None: it can."""
    if scheme in ("v1", "rfc9421") or can_sign_v1a(signer):
        return None
    able = " and ".join(name for name, profile in PROFILES.items() if can_sign_v1a(profile))
    return f"v1a needs a signature in the style of Standard Webhooks ({able}), and that of {signer.name} is HMAC alone"


def secret_problem(endpoint: Endpoint, open_secret: Callable[[SealedSecret, str], str], now_ms: int) -> str | None:
    """What keeps the endpoint's requests from being signed, in one sentence; None: nothing that this process can see.

    A secret that no key here opens is the operator's trouble, and does not speak against the combination.
    """
    signer = PROFILES.get(endpoint.signer)
    if signer is None:
        return None  # an unknown name is refused on its own account
    if endpoint.signature_scheme != "v1":
        problem = scheme_problem(endpoint.signature_scheme, signer)
        if problem is None and not in_use(endpoint.signing_keys, now_ms):
            problem = f"{endpoint.signature_scheme} needs a signing key, and the endpoint has none: rotate it first"
        if problem is not None:
            return f"signature_scheme: {problem}"
    valid = in_use(endpoint.secrets, now_ms)
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
