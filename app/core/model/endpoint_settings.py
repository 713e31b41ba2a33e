"""What a customer may change of an endpoint: the one declaration of these fields.

The stored entity, the bodies of the API and its OpenAPI document, the options of `hookstream endpoints add` and
`update`, the dashboard's form, the registry's rules and a table in docs/endpoints.md all derive from it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta

from app.core import limits
from app.core.filters.parsing import filter_problems
from app.core.model.channels import CHANNEL_PATTERN, is_channel
from app.core.model.custom_headers import header_problems, name_problems
from app.core.model.endpoint_kind import KIND, EndpointKind
from app.core.model.event_types import is_pattern
from app.core.model.receiver_auth import ReceiverAuth, auth_problems
from app.core.model.setting_surface import Surface, shown
from app.core.transforms.expressions import transform_problems
from app.core.transforms.included_fields import path_problems

Ordering = Literal["none", "fifo"]
SigningScheme = Literal["v1", "v1a", "both", "rfc9421"]
Envelope = Literal["profile", "raw", "thin", "cloudevents-structured", "cloudevents-binary"]
#: not `.` or `..`, which clients remove from paths, and not like an id that the service makes
UID_PATTERN = r"^(?!ep_)(?!\.{1,2}$)[A-Za-z0-9_.-]{1,256}$"
#: how a receiver agrees to deliveries before the first one
HandshakeKind = Literal["none", "challenge", "cloudevents"]
_AGREEMENTS = (("none", "none"), ("challenge", "it returns a challenge"), ("cloudevents", "it answers OPTIONS"))


class EndpointSettings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The settings of an endpoint."""

    url: Annotated[
        str,
        shown(
            "The URL that receives events.",
            Surface(
                option="--new-url", label="URL", widget="url", example="https://customer.example/hooks", at_once=True
            ),
            max_length=limits.URL,
            examples=["https://customer.example/hooks"],
        ),
    ]
    events: Annotated[
        tuple[Annotated[str, Meta(max_length=limits.TYPE)], ...],
        shown(
            "Event types: exact, `*`, or a prefix such as `recording.*`.",
            Surface(option="--events", label="Events", widget="types", example="recording.*", at_once=True),
            max_length=limits.PATTERNS,
            examples=[["recording.*"]],
        ),
    ]
    description: Annotated[
        str,
        shown(
            "Free text shown in lists; never sent to the receiver.",
            Surface(option="--description", label="Description", widget="text", at_once=True),
            max_length=limits.DESCRIPTION,
        ),
    ] = ""
    uid: Annotated[
        Annotated[str, Meta(min_length=1, max_length=limits.UID, extra_json_schema={"pattern": UID_PATTERN})] | None,
        shown(
            "Your own id of the endpoint: letters, digits, `_`, `.` and `-`, not beginning with `ep_`, unique in its "
            "tenant and mode. It works wherever the id does; null: none.",
            Surface(option="--uid", label="Your own id", widget="text", example="customer-42", in_portal=False),
            examples=["customer-42"],
        ),
    ] = None
    metadata: Annotated[
        dict[
            Annotated[str, Meta(max_length=limits.METADATA_NAME)],
            Annotated[str, Meta(max_length=limits.METADATA_VALUE)],
        ],
        shown(
            "Your own labels; never sent to the receiver.",
            Surface(option="--label", label="Metadata", widget="pairs", example="team=billing"),
            max_length=limits.METADATA,
        ),
    ] = {}
    kind: Annotated[EndpointKind, KIND] = "push"
    headers: Annotated[
        dict[
            Annotated[str, Meta(max_length=limits.HEADER_NAME)],
            Annotated[str, Meta(max_length=limits.HEADER_VALUE)],
        ],
        shown(
            "Headers that every request has. Values of `authorization`, `proxy-authorization`, `cookie`, `*-key`, "
            "`*-token` and `*-secret` are sealed, and shown as `********`; a change with this mask keeps the value.",
            Surface(option="--header", label="Headers", widget="pairs", example="X-Api-Key: …", separator=":"),
            max_length=limits.HEADERS,
        ),
    ] = {}
    sensitive_headers: Annotated[
        Annotated[
            tuple[Annotated[str, Meta(max_length=limits.HEADER_NAME)], ...],
            Meta(max_length=limits.HEADERS),
        ]
        | None,
        shown(
            "Names of further custom headers whose values are sealed and masked; null: none.",
            Surface(option="--sensitive-headers", label="Sensitive headers", widget="words", example="X-Pass"),
        ),
    ] = None
    auth: Annotated[
        ReceiverAuth | None,
        shown(
            "How requests prove to the receiver where they come from, beside their signature: `basic`, `bearer`, "
            "`header`, `oauth2_client_credentials` or `mtls`. Secrets are sealed, and shown as `********`; a change "
            "with this mask keeps the secret. null: not at all.",
            Surface(
                option="--auth",
                label="Authentication",
                widget="auth",
                example='{"type": "bearer", "token": "…"}',
                choices=(
                    ("none", "none"),
                    ("basic", "user name and password"),
                    ("bearer", "bearer token"),
                    ("header", "secret header"),
                    ("oauth2_client_credentials", "OAuth 2.0 client credentials"),
                    ("mtls", "TLS client certificate"),
                ),
            ),
            examples=[{"type": "bearer", "token": "one-of-yours"}],
        ),
    ] = None
    filter: Annotated[
        dict[str, Any] | None,
        shown(
            "Conditions on an event's fields: an event that does not meet them is not delivered; null: all events.",
            Surface(option="--filter", label="Filter", widget="json", example='{"data": {"total": {"$gte": 100}}}'),
            examples=[{"data": {"total": {"$gte": 100}}}],
        ),
    ] = None
    channels: Annotated[
        Annotated[
            tuple[
                Annotated[
                    str,
                    Meta(min_length=1, max_length=limits.CHANNEL, extra_json_schema={"pattern": CHANNEL_PATTERN}),
                ],
                ...,
            ],
            Meta(min_length=1, max_length=limits.CHANNELS),
        ]
        | None,
        shown(
            "Only events that carry at least one of these channels; null: all events.",
            Surface(option="--channels", label="Channels", widget="words", example="eu,project-7"),
            examples=[["eu", "project-7"]],
        ),
    ] = None
    envelope: Annotated[
        Envelope,
        shown(
            "The body around the data. `profile`: the profile's. `raw`: the data alone. `thin`: id, type, time and "
            "the event's path in the API. `cloudevents-structured` and `cloudevents-binary`: CloudEvents 1.0.",
            Surface(
                option="--envelope",
                label="Body",
                widget="choice",
                choices=(
                    ("profile", "as the profile writes it"),
                    ("raw", "the event's data alone"),
                    ("thin", "id, type and time, without data"),
                    ("cloudevents-structured", "CloudEvents, structured"),
                    ("cloudevents-binary", "CloudEvents, binary"),
                ),
            ),
        ),
    ] = "profile"
    include_fields: Annotated[
        Annotated[
            tuple[Annotated[str, Meta(max_length=limits.INCLUDED_PATH)], ...],
            Meta(max_length=limits.INCLUDED),
        ]
        | None,
        shown(
            "The fields of the data that are sent, as paths of names; null: all of it.",
            Surface(
                option="--include-fields", label="Fields of the data", widget="words", example="id,customer.country"
            ),
            examples=[["id", "customer.country"]],
        ),
    ] = None
    transform: Annotated[
        Annotated[str, Meta(max_length=limits.TRANSFORM)] | None,
        shown(
            "A JMESPath expression over the event's fields, whose result is sent as its data; null: the data itself.",
            Surface(
                option="--transform",
                label="Transform",
                widget="expression",
                example="{text: join(' ', [data.customer, 'has paid'])}",
            ),
            examples=["{text: join(' ', [data.customer, 'has paid'])}"],
        ),
    ] = None
    verification: Annotated[
        HandshakeKind,
        shown(
            "How the receiver agrees to deliveries, again after a new URL: it returns a posted `challenge` or "
            "answers OPTIONS as CloudEvents Web Hooks say. Until then it is `unverified`, and deliveries are parked.",
            Surface(option="--verification", label="Verification of the URL", widget="choice", choices=_AGREEMENTS),
        ),
    ] = "none"
    schedule: Annotated[
        Annotated[
            tuple[Annotated[float, Meta(ge=0, le=limits.DELAY_S)], ...],
            Meta(min_length=1, max_length=limits.SCHEDULE),
        ]
        | None,
        shown(
            "Seconds before attempt 1, 2, …; null: the profile's.",
            Surface(option="--schedule", label="Seconds before each attempt", widget="numbers", example="0,5,60"),
        ),
    ] = None
    timeout: Annotated[
        Annotated[float, Meta(ge=limits.TIMEOUT_S[0], le=limits.TIMEOUT_S[1])] | None,
        shown(
            "Seconds for one request; null: the profile's.",
            Surface(option="--timeout", label="Timeout in seconds", widget="number", example="the profile's"),
        ),
    ] = None
    rate_limit: Annotated[
        Annotated[float, Meta(ge=limits.RATE[0], le=limits.RATE[1])] | None,
        shown(
            "Requests per second at most; null: no limit.",
            Surface(option="--rate-limit", label="Requests per second", widget="number", example="no limit"),
        ),
    ] = None
    max_in_flight: Annotated[
        Annotated[int, Meta(ge=limits.IN_FLIGHT[0], le=limits.IN_FLIGHT[1])] | None,
        shown(
            "Requests at the same time at most; null: the service's default.",
            Surface(option="--max-in-flight", label="Requests at once", widget="number", example="the service's"),
        ),
    ] = None
    ordering: Annotated[
        Ordering,
        shown(
            "`fifo`: one delivery per ordering key at a time, in order. `none`: as fast as possible.",
            Surface(
                option="--ordering",
                label="Order",
                widget="choice",
                choices=(("none", "as fast as possible"), ("fifo", "in order for each key")),
            ),
        ),
    ] = "none"
    on_exhausted: Annotated[
        Literal["block", "skip"],
        shown(
            "What a dead delivery does to its ordering key: `block` holds the key back until the delivery is retried, "
            "skipped or discarded, `skip` continues with the next one.",
            Surface(
                option="--on-exhausted",
                label="After a delivery is dead",
                widget="choice",
                choices=(("block", "hold its key back"), ("skip", "continue with the next")),
            ),
        ),
    ] = "block"
    signature: Annotated[
        Annotated[str, Meta(max_length=limits.ID)] | None,
        shown(
            "The profile whose signature is sent; null: the endpoint's own.",
            Surface(option="--signature", label="Sign like the profile", widget="profile", example="its own"),
        ),
    ] = None
    signature_scheme: Annotated[
        SigningScheme,
        shown(
            "How requests are signed. `v1`: HMAC with the secret. `v1a`: Ed25519, which receivers verify with a public "
            "key. `both`: the header of Standard Webhooks has both. `rfc9421`: Ed25519 in an HTTP message signature.",
            Surface(
                option="--signature-scheme",
                label="Signature scheme",
                widget="choice",
                choices=(
                    ("v1", "v1: HMAC"),
                    ("v1a", "v1a: Ed25519"),
                    ("both", "v1 and v1a"),
                    ("rfc9421", "RFC 9421: Ed25519"),
                ),
            ),
        ),
    ] = "v1"
    disable_after_failures: Annotated[
        Annotated[int, Meta(ge=0, le=limits.FAILURES)] | None,
        shown(
            "Consecutive failed attempts that disable the endpoint; 0: never; null: the profile's rule.",
            Surface(
                option="--disable-after-failures",
                label="Disable after failures in a row",
                widget="number",
                example="the profile's rule",
            ),
        ),
    ] = None
    disable_after_days: Annotated[
        Annotated[float, Meta(ge=0, le=limits.DAYS)] | None,
        shown(
            "Days of failures without a success that disable the endpoint; 0: never; null: the profile's rule.",
            Surface(
                option="--disable-after-days",
                label="Disable after days of failures",
                widget="number",
                example="the profile's rule",
            ),
        ),
    ] = None


FIELDS = msgspec.structs.fields(EndpointSettings)
NAMES = tuple(field.name for field in FIELDS)


def meta_of(field: msgspec.structs.FieldInfo) -> Meta:
    """The description of a field and how it is shown."""
    meta: Meta = field.type.__metadata__[0]
    return meta


def surface_of(field: msgspec.structs.FieldInfo) -> Surface:
    """How a field is shown."""
    surface: Surface = (meta_of(field).extra or {})["surface"]
    return surface


def can_be_null(field: msgspec.structs.FieldInfo) -> bool:
    """Whether the field has a default that null restores."""
    return field.default is None


def is_whole(field: msgspec.structs.FieldInfo) -> bool:
    """Whether a number has no fraction."""
    optional = field.type.__origin__
    return any(getattr(each, "__origin__", each) is int for each in get_args(optional))


# Rules that the types cannot express

_UID = re.compile(UID_PATTERN)


def _url(url: str) -> Iterator[str]:
    if url and not url.startswith(("https://", "http://")):  # without one: see `kind_problems`
        yield "must begin with https://"


def _uid(uid: str | None) -> Iterator[str]:
    if uid is not None and not _UID.fullmatch(uid):
        yield f"{uid[:80]!r}: 1 to {limits.UID} of letters, digits, _, . and -, not beginning with ep_"


def _events(events: tuple[str, ...]) -> Iterator[str]:
    if not events:
        yield "at least one type, `*` or a prefix such as `recording.*`"
    for pattern in events:
        if not is_pattern(pattern):
            yield f"{pattern[:80]!r} is neither a type, nor `*`, nor a prefix such as `recording.*`"


def _channels(channels: tuple[str, ...] | None) -> Iterator[str]:
    for channel in channels or ():
        if not is_channel(channel):
            yield f"{channel[:80]!r}: 1 to {limits.CHANNEL} of letters, digits, _, ., : and -"


def _schedule(schedule: tuple[float, ...] | None) -> Iterator[str]:
    if schedule is not None and sum(schedule) > limits.SCHEDULE_S:
        yield "all delays together are at most 30 days"


#: field → a check that its type cannot express; the check yields a sentence for each problem, which may begin with a
#: JSON Pointer into the field's value
RULES: Mapping[str, Callable[[Any], Iterator[str]]] = {
    "url": _url,
    "uid": _uid,
    "events": _events,
    "headers": header_problems,
    "sensitive_headers": name_problems,
    "auth": auth_problems,
    "filter": filter_problems,
    "channels": _channels,
    "include_fields": path_problems,
    "transform": transform_problems,
    "schedule": _schedule,
}
