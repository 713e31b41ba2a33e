"""From a delivery and its endpoint to the request of its next attempt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from urllib.parse import quote

import msgspec

from app.core.errors import Defect, Unrepresentable
from app.core.model.delivery import Delivery
from app.core.model.endpoint import Endpoint, SealedSecret, SigningKey, in_use
from app.core.model.http_exchange import HttpRequest, TlsIdentity, TokenGrant
from app.core.model.receiver_auth import MutualTls, OAuthClientCredentials, ReceiverAuth, credentials
from app.core.model.sealed_auth import opened_auth
from app.core.model.sensitive_headers import opened
from app.core.records.raw_event import data_of
from app.profiles.catalog import get as profile_of
from app.profiles.catalog import get_or_standard
from app.profiles.contract import HeaderPairs, Profile, SignMessage
from app.profiles.envelopes import JSON_TYPE, Content, DeliveryShape, event_view, shape_of
from app.profiles.message_signatures import MessageSignatures, target_of
from app.profiles.policy import RetryPolicy
from app.profiles.signatures import Ed25519Signatures, ListedSignatures

USER_AGENT = "Hookstream/0.1 (+https://github.com/hookstream/hookstream)"
_REMEMBERED = 10_000
_FOREVER = 1 << 62
_OMITTED = (
    "the event has {} bytes, more than Kafka's topics took: set their max.message.bytes as `hookstream topics plan` "
    "says, then retry the delivery"
)


class EndpointRequestParts(msgspec.Struct, frozen=True, kw_only=True):
    """The values for requests that are derived from one version of an endpoint."""

    #: the object that the values were derived from; a removed and recreated endpoint may have the same version
    source: Endpoint
    profile: Profile
    #: what it gets instead of the profile's envelope around the event's data; None: that
    shape: DeliveryShape | None
    #: the signature headers: those of the endpoint's profile or another one, or Ed25519's; see `Profile.headers`
    signature: Callable[[bytes, Sequence[bytes], str, int], HeaderPairs]
    keys: tuple[bytes, ...]
    #: the keys change at that time (the overlap of a secret or signing key ends)
    valid_until_ms: int
    headers: tuple[tuple[str, str], ...]
    #: what requests are sent with beside their headers; None: nothing
    credential: TokenGrant | TlsIdentity | None
    policy: RetryPolicy
    timeout_s: float


class RequestBuilder:
    """Builds requests, with a cache of the derived values of each endpoint version."""

    def __init__(
        self,
        open_secret: Callable[[SealedSecret, str], str],
        time_scale: float,
        signer: Callable[[SealedSecret, str], SignMessage],
    ) -> None:
        """`open_secret` and `signer` are those of `app.ports.secrets.KeyRing`."""
        self._open_secret = open_secret
        self._signer = signer
        self._time_scale = time_scale
        self._parts: dict[str, EndpointRequestParts] = {}

    def prepared(self, endpoint: Endpoint, now_ms: int) -> EndpointRequestParts:
        """The endpoint's profile, keys and policy; raises `ConfigError` when no key of the ring opens its secret."""
        parts = self._parts.get(endpoint.id)
        if parts is None or parts.source is not endpoint or parts.valid_until_ms <= now_ms:
            if len(self._parts) >= _REMEMBERED:
                self._parts.clear()
            parts = self._parts[endpoint.id] = self._work_out(endpoint, now_ms)
        return parts

    def request(
        self, delivery: Delivery, endpoint: Endpoint, prepared: EndpointRequestParts, now_ms: int
    ) -> HttpRequest:
        """The request of the next attempt.

        Raises `Unrepresentable` when the profile cannot carry the data, and `TransformFailed`.
        """
        if delivery.omitted:
            raise Unrepresentable("", _OMITTED.format(delivery.omitted))
        shape = prepared.shape
        if shape is None:
            event = event_view(delivery, data_of(delivery.body, delivery.format))
            content = Content(prepared.profile.envelope(event), JSON_TYPE)
        else:
            content = shape.content(delivery)
        body = content.body
        headers = [
            ("user-agent", USER_AGENT),
            ("content-type", content.content_type),
            ("webhook-id", delivery.event_id),
            ("webhook-attempt", str(delivery.attempts + 1)),
        ]
        if delivery.sequence is not None:
            headers.append(("webhook-sequence", str(delivery.sequence)))
        if delivery.ordering_key is not None:
            headers.append(("webhook-ordering-key", quote(delivery.ordering_key, safe=_VISIBLE)))
        if delivery.replay_id:
            headers.append(("webhook-replay", delivery.replay_id))
        if delivery.traceparent:
            headers.append(("traceparent", delivery.traceparent))
        signature = prepared.signature
        if shape is not None and isinstance(signature, MessageSignatures):
            signature = signature.of(content.content_type)
        for pair in signature(body, prepared.keys, delivery.event_id, now_ms // 1000):
            if pair[0].lower() != "webhook-id":
                headers.append(pair)
        headers.extend(content.headers)
        headers.extend(prepared.headers)
        return HttpRequest(
            url=endpoint.url,
            headers=tuple(headers),
            body=body,
            timeout_s=prepared.timeout_s,
            credential=prepared.credential,
        )

    def policy(self, endpoint: Endpoint) -> RetryPolicy:
        """The retry policy of an endpoint, from its settings and its profile."""
        parts = self._parts.get(endpoint.id)
        if parts is not None and parts.source is endpoint:
            return parts.policy
        profile = get_or_standard(endpoint.profile)
        return RetryPolicy(
            schedule_s=endpoint.schedule or profile.schedule_s,
            gone_410=profile.disable.gone_410,
            scale=self._time_scale,
        )

    def _work_out(self, endpoint: Endpoint, now_ms: int) -> EndpointRequestParts:
        profile = profile_of(endpoint.profile)
        signer = profile_of(endpoint.signer)
        scheme, owner = endpoint.signature_scheme, endpoint.secret_owner
        secrets = in_use(endpoint.secrets, now_ms) if scheme in ("v1", "both") else ()
        signing_keys = in_use(endpoint.signing_keys, now_ms) if scheme != "v1" else ()
        ends_ms = [each.expires_at_ms or _FOREVER for each in (*secrets, *signing_keys)]
        auth = opened_auth(endpoint, self._open_secret)
        return EndpointRequestParts(
            source=endpoint,
            profile=profile,
            shape=shape_of(endpoint, profile),
            signature=signer.headers if scheme == "v1" else self._asymmetric(endpoint, signer, signing_keys),
            keys=tuple(signer.key(self._open_secret(secret, owner)) for secret in secrets),
            valid_until_ms=min(ends_ms, default=_FOREVER),
            headers=(*_agreed(endpoint), *opened(endpoint, self._open_secret), *credentials(auth)),
            credential=_credential(endpoint.id, auth),
            policy=self.policy(endpoint),
            timeout_s=endpoint.timeout or profile.timeout_s,
        )

    def _asymmetric(
        self, endpoint: Endpoint, signer: Profile, signing_keys: Sequence[SigningKey]
    ) -> Ed25519Signatures | MessageSignatures:
        owner = endpoint.secret_owner
        if endpoint.signature_scheme == "rfc9421":
            signers = tuple((each.public, self._signer(each, owner)) for each in signing_keys)
            return MessageSignatures(target_of(endpoint.url), signers)
        if not isinstance(signer.headers, ListedSignatures):
            raise Defect(f"the signature of the profile {signer.name} has no v1a")
        return Ed25519Signatures(signer.headers, tuple(self._signer(each, owner) for each in signing_keys))


def _agreed(endpoint: Endpoint) -> tuple[tuple[str, str], ...]:
    """The header that repeats the origin of the handshake (CloudEvents HTTP Web Hooks 1.0, section 4.1.2)."""
    origin = endpoint.request_origin
    return (("webhook-request-origin", origin),) if origin is not None else ()


def _credential(owner: str, auth: ReceiverAuth | None) -> TokenGrant | TlsIdentity | None:
    match auth:
        case OAuthClientCredentials():
            return TokenGrant(owner=owner, auth=auth)
        case MutualTls(certificate=certificate, private_key=private_key, ca=authority):
            return TlsIdentity.of(owner, certificate=certificate, private_key=private_key, authority=authority)
        case _:
            return None


#: what an ordering key may show as it is in a header; the rest is percent-encoded
_VISIBLE = "!#$&'()*+,/:;=?@[]~-_."
