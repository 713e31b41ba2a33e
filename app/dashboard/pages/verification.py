"""Verify signatures: code for the receiver, and a box that says why the signature of a request fits or does not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hmac import compare_digest

from app.api.handlers import webhooks
from app.core.errors import ConfigError
from app.core.model.endpoint import Endpoint, in_use
from app.dashboard.request import PageContext, PageRequest, PageResult, TemplatePage
from app.profiles.catalog import get as profile_of
from app.profiles.contract import SignMessage
from app.profiles.receiver_code.snippets import snippets, v1a_snippets
from app.profiles.verification import CandidateKey, CandidateSecret, Verification, read_headers, verify

#: characters of a pasted body, and of pasted headers
MOST_BODY = 200_000
MOST_HEADERS = 20_000
_NOT_CHECKED = (
    "Its requests have HTTP message signatures (RFC 9421), which cannot be checked here: use a library, as the "
    "document on signatures shows."
)


async def show(desk: PageContext, visit: PageRequest) -> PageResult:
    """The code, in the language that the query names, and an empty box."""
    return _page(desk, visit, webhooks.owned(desk.api, visit.call()), None)


async def check(desk: PageContext, visit: PageRequest) -> PageResult:
    """Check a pasted request; it is neither stored nor logged."""
    endpoint = webhooks.owned(desk.api, visit.call())
    headers, body = _pasted(visit, "headers"), _pasted(visit, "body")
    if len(headers) > MOST_HEADERS or len(body) > MOST_BODY:
        problem = f"At most {MOST_HEADERS:,} characters of headers and {MOST_BODY:,} of a body are checked."
        return _page(desk, visit, endpoint, None, problem=problem, status=413)
    if endpoint.signature_scheme == "rfc9421":
        return _page(desk, visit, endpoint, None, problem=_NOT_CHECKED)
    try:
        secrets, signing_keys = _secrets(desk, endpoint), _signing_keys(desk, endpoint)
    except ConfigError:
        problem = "The endpoint's secret cannot be opened by this process. Ask the operator."
        return _page(desk, visit, endpoint, None, problem=problem, status=503)
    signer = profile_of(endpoint.signer)
    # A text area cannot end without the reader's own last line break.
    verification = verify(
        signer,
        secrets,
        read_headers(headers),
        body.rstrip("\n").encode(),
        desk.api.clock.now_ms() / 1000,
        signing_keys,
    )
    return _page(desk, visit, endpoint, verification)


def _page(
    desk: PageContext,
    visit: PageRequest,
    endpoint: Endpoint,
    verification: Verification | None,
    *,
    problem: str = "",
    status: int = 200,
) -> PageResult:
    signer = profile_of(endpoint.signer)
    choices = snippets(signer) if endpoint.signature_scheme in ("v1", "both") else ()
    choices += v1a_snippets(signer) if endpoint.signature_scheme in ("v1a", "both") else ()
    wanted = visit.query.get("language", "")
    values = {
        "endpoint": endpoint,
        "snippets": choices,
        "snippet": next((each for each in choices if each.language == wanted), choices[0] if choices else None),
        "public_keys": [each.public for each in in_use(endpoint.signing_keys, desk.api.clock.now_ms())],
        "verification": verification,
        "problem": problem,
        "pasted": {name: _pasted(visit, name) if status == 200 else "" for name in ("headers", "body")},
    }
    return TemplatePage(
        template="verification_result.html" if visit.partial else "verification.html", values=values, status=status
    )


def _pasted(visit: PageRequest, name: str) -> str:
    """A text area's value; browsers send its line breaks as CRLF."""
    values = visit.form.get(name)
    return values[0].replace("\r\n", "\n") if values else ""


def _secrets(desk: PageContext, endpoint: Endpoint) -> list[CandidateSecret]:
    """Those that sign first, the newest of them first; raises `ConfigError` when no key opens one."""
    now_ms = desk.api.clock.now_ms()
    candidates: list[CandidateSecret] = []
    if endpoint.signature_scheme == "v1a":
        return candidates
    for number, sealed in enumerate(endpoint.secrets):
        is_in_use = sealed.expires_at_ms is None or sealed.expires_at_ms > now_ms
        if not is_in_use:
            name = "an earlier secret of the endpoint, which signs no more"
        elif number:
            name = "an earlier secret of the endpoint, which still signs"
        else:
            name = "the endpoint's current secret"
        candidates.append(CandidateSecret(desk.api.keyring.open(sealed, endpoint.secret_owner), name, is_in_use))
    return candidates


def _signing_keys(desk: PageContext, endpoint: Endpoint) -> list[CandidateKey]:
    """Those of v1a that sign now, the newest first; raises `ConfigError` when no key of the ring opens one."""
    if endpoint.signature_scheme == "v1":
        return []
    return [
        CandidateKey(
            _made_with(desk.api.keyring.signer(sealed, endpoint.secret_owner)),
            f"the endpoint's {'earlier' if number else 'current'} signing key {sealed.public}",
        )
        for number, sealed in enumerate(in_use(endpoint.signing_keys, desk.api.clock.now_ms()))
    ]


def _made_with(sign: SignMessage) -> Callable[[bytes, Sequence[bytes]], bool]:
    """Ed25519 is deterministic: a signature was made with the key if the key makes it again."""

    def fits(message: bytes, signatures: Sequence[bytes]) -> bool:
        made = sign(message)
        return any(compare_digest(made, each) for each in signatures)

    return fits
