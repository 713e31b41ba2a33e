"""Why a receiver accepts or refuses the signature of a request, in sentences for the receiver's owner.

Pure: the caller opens the secrets and knows the time. No expected signature is ever part of an answer.
"""

from __future__ import annotations

import hmac
import json
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from app.core.errors import ConfigError
from app.profiles.contract import Profile
from app.profiles.signatures import HexSignature, ListedSignatures, base64_key, text_key

#: seconds between signature and arrival after which receivers refuse (the Standard Webhooks libraries' value)
TOLERANCE_S = 300
#: a longer body is only compared as it is, because each re-encoding costs milliseconds
_REENCODED_BYTES = 128 * 1024
#: headers of a request, and entries of a signature header, that are read
_MOST_HEADERS = 100
_MOST_SIGNATURES = 20

Level = Literal["good", "warning", "bad"]


class CandidateSecret(NamedTuple):
    """A secret that may have signed the request."""

    text: str
    #: in a sentence: "the current secret"
    name: str
    #: False: its overlap has ended
    is_in_use: bool = True


class CandidateKey(NamedTuple):
    """An Ed25519 key that may have signed the request."""

    #: (message, signatures) → whether one of them was made with the key
    fits: Callable[[bytes, Sequence[bytes]], bool]
    #: in a sentence: "the current signing key"
    name: str
    #: False: its overlap has ended
    is_in_use: bool = True


class Finding(msgspec.Struct, frozen=True):
    """One thing that was checked."""

    level: Level
    sentence: str


class Verification(msgspec.Struct, frozen=True):
    """What became of all checks."""

    #: the signature fits body and headers as they are, and a secret that still signs
    valid: bool
    findings: tuple[Finding, ...]


#: a candidate, its key, and how the candidate was used if not as the profile says
_Key = tuple[CandidateSecret | CandidateKey, Any, str]


class _Match(NamedTuple):
    candidate: CandidateSecret | CandidateKey
    #: how the body has to be changed so that the signature fits; empty: not at all
    change: str
    #: how the secret was used, if not as the profile says
    misuse: str


def read_headers(text: str) -> list[tuple[str, str]]:
    """The headers in a pasted text: lines `Name: value`, or a JSON object. Other lines are left out."""
    try:
        pasted = json.loads(text)
    except ValueError:
        pairs = [line.partition(":") for line in text.splitlines()]
        return [(name.strip(), value.strip()) for name, colon, value in pairs if colon and name.strip()][:_MOST_HEADERS]
    if not isinstance(pasted, dict):
        return []
    return [
        (name, ",".join(map(str, value)) if isinstance(value, list) else str(value)) for name, value in pasted.items()
    ][:_MOST_HEADERS]


def verify(
    profile: Profile,
    secrets: Sequence[CandidateSecret],
    headers: Sequence[tuple[str, str]],
    body: bytes,
    now_s: float,
    signing_keys: Sequence[CandidateKey] = (),
) -> Verification:
    """Check a request of `profile`; `secrets`: those that sign now first, then earlier ones; `body`: as received.

    With `signing_keys` its v1a signatures are checked, too, and without secrets they alone.
    """
    received = {name.lower(): value.encode(errors="replace").decode() for name, value in headers[:_MOST_HEADERS]}
    match profile.headers:
        case ListedSignatures() as scheme:
            findings = list(_listed(scheme, profile, secrets, signing_keys, received, body, now_s))
        case HexSignature() as scheme:
            findings = list(_hex(scheme, profile, secrets, received, body))
        case _:
            findings = [Finding("bad", f"The signatures of the profile {profile.name} cannot be checked here.")]
    return Verification(all(each.level != "bad" for each in findings), tuple(findings))


def _listed(
    scheme: ListedSignatures,
    profile: Profile,
    secrets: Sequence[CandidateSecret],
    signing_keys: Sequence[CandidateKey],
    received: Mapping[str, str],
    body: bytes,
    now_s: float,
) -> Iterator[Finding]:
    names = (scheme.id_header, scheme.timestamp_header, scheme.signature_header)
    missing = [name for name in names if not received.get(name)]
    if missing:
        yield _missing(missing, received)
        return
    event_id, timestamp, signature = (received[name] for name in names)
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) < 12):
        yield Finding("bad", f"{scheme.timestamp_header} is not a number of seconds since 1970.")
        return
    yield _age(now_s - int(timestamp))
    entries = signature.split()[:_MOST_SIGNATURES]
    hmacs, ed25519s = ([each for each in entries if each.startswith(mark)] for mark in ("v1,", "v1a,"))

    def signed(key: bytes, candidate: bytes) -> bool:
        made = dict(scheme(candidate, [key], event_id, int(timestamp)))[scheme.signature_header]
        return any(hmac.compare_digest(each.encode(), made.encode()) for each in hmacs)

    def signed_v1a(key: CandidateKey, candidate: bytes) -> bool:
        return key.fits(f"{event_id}.{timestamp}.".encode() + candidate, list(_decoded(ed25519s)))

    if secrets or not signing_keys:
        if hmacs:
            yield from _matching(_derived(profile, secrets), body, signed, scheme.signature_header)
        else:
            yield _no_entry(scheme, "v1", is_other=bool(signing_keys and ed25519s))
    if signing_keys:
        if ed25519s:
            keys: list[_Key] = [(each, each, "") for each in signing_keys]
            yield from _matching(keys, body, signed_v1a, scheme.signature_header)
        else:
            yield _no_entry(scheme, "v1a", is_other=bool(secrets and hmacs))


def _no_entry(scheme: ListedSignatures, mark: str, *, is_other: bool) -> Finding:
    """`is_other`: there are entries of the other scheme that the endpoint's requests have."""
    sentence = f'No entry of {scheme.signature_header} begins with "{mark},".'
    if is_other:
        return Finding("warning", f"{sentence} It may have been sent before the endpoint's scheme was changed.")
    return Finding("bad", f"{sentence} Copy the whole header.")


def _decoded(entries: Sequence[str]) -> Iterator[bytes]:
    for each in entries:
        try:
            yield b64decode(each.partition(",")[2], validate=True)
        except ValueError:
            continue


def _hex(
    scheme: HexSignature, profile: Profile, secrets: Sequence[CandidateSecret], received: Mapping[str, str], body: bytes
) -> Iterator[Finding]:
    name = scheme.header.lower()
    signature = received.get(name, "").strip()
    if not signature:
        if scheme.optional and not secrets:
            yield Finding("good", "The endpoint has no secret: its requests are not signed.")
        else:
            yield _missing([scheme.header], received)
        return
    if not signature.startswith(scheme.prefix):
        yield Finding("bad", f'{scheme.header} does not begin with "{scheme.prefix}".')
        return
    digits = signature.removeprefix(scheme.prefix)
    if not _is_hex_digest(digits):
        encoding = " It is base64: this profile writes hexadecimal digits." if _is_base64_digest(digits) else ""
        yield Finding("bad", f"{scheme.header} does not have 64 hexadecimal digits.{encoding}")
        return

    def fits(key: bytes, candidate: bytes) -> bool:
        made = scheme(candidate, [key], "", 0)[0][1]
        return hmac.compare_digest(made.encode(), (scheme.prefix + digits.lower()).encode())

    yield from _matching(_derived(profile, secrets), body, fits, scheme.header)


def _matching(keys: Sequence[_Key], body: bytes, fits: Callable[[Any, bytes], bool], header: str) -> Iterator[Finding]:
    match = _search(keys, body, fits)
    if match is None:
        yield Finding(
            "bad",
            f"No signature in {header} fits the body with {_any_of(keys)}. Either the body is not the one that was "
            "sent, byte for byte, or it was signed for another endpoint.",
        )
        return
    if match.misuse:
        yield Finding("bad", f"The signature was made with {match.candidate.name}, but {match.misuse}.")
    else:
        level: Level = "good" if match.candidate.is_in_use else "bad"
        yield Finding(level, f"The signature was made with {match.candidate.name}.")
    if match.change:
        yield Finding(
            "bad",
            f"It fits another form of the body: {match.change}. Something between the network and your check changes "
            "the body. Verify the raw bytes, before a framework parses them.",
        )
    else:
        yield Finding("good", "It fits the body, byte for byte.")


def _search(keys: Sequence[_Key], body: bytes, fits: Callable[[Any, bytes], bool]) -> _Match | None:
    for change, form in _candidates(body):
        for candidate, key, misuse in keys:
            if fits(key, form):
                return _Match(candidate, change, misuse)
    return None


def _derived(profile: Profile, secrets: Sequence[CandidateSecret]) -> list[_Key]:
    return [(secret, key, misuse) for secret in secrets for key, misuse in _keys(profile, secret.text)]


def _keys(profile: Profile, secret: str) -> Iterator[tuple[bytes, str]]:
    """The profile's key of a secret first; then what receivers make of it by mistake."""
    for derive, misuse in (
        (profile.key, ""),
        (text_key, "its characters were used as the key. The key is the base64-decoded part after whsec_"),
        (base64_key, "it was decoded as base64. The key is the secret's characters"),
        (_after_prefix, "the characters after whsec_ were used as the key, undecoded"),
    ):
        try:
            key = derive(secret)
        except ConfigError:
            continue
        if misuse and key == profile.key(secret):
            continue
        yield key, misuse


def _after_prefix(secret: str) -> bytes:
    return text_key(secret.removeprefix("whsec_"))


def _candidates(body: bytes) -> Iterator[tuple[str, bytes]]:
    """The body, and the forms that frameworks, editors and clipboards make of it, each with its change."""
    yield "", body
    if body.rstrip(b"\r\n") != body:
        yield "without the line break at its end", body.rstrip(b"\r\n")
    if b"\r\n" in body:
        yield "with LF instead of CRLF as line break", body.replace(b"\r\n", b"\n")
    if len(body) > _REENCODED_BYTES:
        return
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return
    for change, options in _ENCODINGS:
        try:
            yield change, json.dumps(parsed, **options).encode()
        except (ValueError, RecursionError):
            return


_COMPACT = (",", ":")
_ENCODINGS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("JSON without spaces", {"separators": _COMPACT, "ensure_ascii": False}),
    ("JSON without spaces, with \\u escapes", {"separators": _COMPACT}),
    ("JSON with spaces after colons and commas", {"ensure_ascii": False}),
    ("JSON with spaces after colons and commas, and \\u escapes", {}),
    ("JSON indented by 2", {"indent": 2, "ensure_ascii": False}),
    ("JSON indented by 4", {"indent": 4, "ensure_ascii": False}),
    ("JSON with sorted keys", {"separators": _COMPACT, "sort_keys": True, "ensure_ascii": False}),
)


def _age(age_s: float) -> Finding:
    if age_s > TOLERANCE_S:
        return Finding(
            "warning",
            f"It was signed {_long(age_s)} ago. Receivers that check the time refuse it after {TOLERANCE_S // 60} "
            "minutes; that is right, unless it had just arrived: then the receiver's clock is wrong.",
        )
    if age_s < -TOLERANCE_S:
        return Finding("warning", f"It was signed {_long(-age_s)} in the future: the clock of one side is wrong.")
    return Finding("good", f"It was signed less than {TOLERANCE_S // 60} minutes ago.")


def _long(seconds: float) -> str:
    for unit, size in (("days", 86_400), ("hours", 3_600)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 60:.0f} minutes"


def _missing(names: Sequence[str], received: Mapping[str, str]) -> Finding:
    other = next((name for name in received if "signature" in name), None)
    instead = f" The request has {other[:100]}: it is of another profile, or not from here." if other else ""
    return Finding("bad", f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} missing.{instead}")


def _any_of(keys: Sequence[_Key]) -> str:
    names = list(dict.fromkeys(candidate.name for candidate, _, _ in keys))
    return " or ".join(names) if names else "any secret: the endpoint has none"


def _is_hex_digest(text: str) -> bool:
    return len(text) == 64 and all(each in "0123456789abcdefABCDEF" for each in text)


def _is_base64_digest(text: str) -> bool:
    try:
        return len(b64decode(text, validate=True)) == 32
    except ValueError:
        return False
