"""Signatures of HTTP messages (RFC 9421) with Ed25519, over a digest of the body (RFC 9530)."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from urllib.parse import urlsplit

import msgspec

from app.core.errors import Defect
from app.profiles.contract import HeaderPairs, SignMessage

_DEFAULT_PORTS = {"https": ":443", "http": ":80"}
_COVERED = '("@method" "@authority" "@path" "@query" "content-digest" "content-type" "webhook-id")'


class MessageSignatures(msgspec.Struct, frozen=True):
    """`Profile.headers` of RFC 9421, for the URL and the keys of one endpoint.

    The headers are `content-digest`, `signature-input` and `signature`. Each key gives one signature, so that a
    receiver may hold the old or the new one in a rotation. The public key is its `keyid`, and its `tag`, too, by which
    a receiver selects the signature that it can verify; the labels are `sig1`, `sig2`, …
    """

    #: the lines of the signature base up to the digest, which are those of all requests of the endpoint
    target: str
    #: newest key first: its public half and what signs with it
    signers: tuple[tuple[str, SignMessage], ...]
    #: of the body
    content_type: str = "application/json"

    def of(self, content_type: str) -> MessageSignatures:
        """The same for bodies of this type."""
        return MessageSignatures(self.target, self.signers, content_type)

    def __call__(self, body: bytes, keys: Sequence[bytes], event_id: str, at_s: int) -> HeaderPairs:
        """See `Profile.headers`; `keys` are not used."""
        if not self.signers:
            raise Defect("signature needs a key: requests never go out unsigned where a scheme is asked for")
        digest = f"sha-256=:{b64encode(sha256(body).digest()).decode()}:"
        covered = (
            f'{self.target}"content-digest": {digest}\n"content-type": {self.content_type}\n"webhook-id": {event_id}\n'
        )
        inputs, signatures = [], []
        for number, (public, sign) in enumerate(self.signers, 1):
            parameters = f'{_COVERED};created={at_s};keyid="{public}";alg="ed25519";tag="{public}"'
            signature = sign(f'{covered}"@signature-params": {parameters}'.encode())
            inputs.append(f"sig{number}={parameters}")
            signatures.append(f"sig{number}=:{b64encode(signature).decode()}:")
        return (
            ("content-digest", digest),
            ("signature-input", ", ".join(inputs)),
            ("signature", ", ".join(signatures)),
        )


def target_of(url: str) -> str:
    """The lines of a signature base for a POST to the URL."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2].lower().removesuffix(_DEFAULT_PORTS.get(parts.scheme, ":"))
    return f'"@method": POST\n"@authority": {host}\n"@path": {parts.path or "/"}\n"@query": ?{parts.query}\n'
