"""Limits on what a tenant may store, for the API's contract and the registry's rules.

An entity within all limits is still refused if it is too large for a record of the registry.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from app.core.errors import CommandRefused

#: characters
ID = 128
UID = 256
EVENT_ID = 256
TYPE = 256
KEY = 512
NAME = 256
TIME = 64
URL = 2048
DESCRIPTION = 1024
SECRET = 256
CHANNEL = 128
SUBJECT = 256
ADDRESS = 254
METADATA_NAME = 64
METADATA_VALUE = 512
HEADER_NAME = 128
HEADER_VALUE = 4096
#: the secret of an endpoint's `auth`
AUTH_SECRET = 4096
CLIENT_ID = 512
SCOPE = 1024
#: PEM of `auth`
CERTIFICATES = 16_384
PRIVATE_KEY = 8_192
BRAND_NAME = 64
BRAND_LOGO = 33_000
SCHEMA = 65_536

#: entries
PATTERNS = 500
METADATA = 50
HEADERS = 30
ADDRESSES = 20
SCOPES = 3
SECRETS = 10
CHANNELS = 20
REPLAY_TYPES = 100
#: subjects of a tenant that were erased, in both modes together
ERASURES = 10_000
SCHEDULE = 100
#: characters of all header names and values together; many servers accept 8 KiB, few more than 16 KiB
HEADER_BYTES = 16_384
#: seconds of the longest delay, and of all delays of a schedule: as long as deliveries.dead retains dead letters
DELAY_S = 7 * 86_400.0
SCHEDULE_S = 30 * 86_400.0
TIMEOUT_S = (0.1, 60.0)
IN_FLIGHT = (1, 1000)
RATE = (0.001, 100_000.0)
FAILURES = 1_000_000
DAYS = 365.0
#: seconds by which the `deliver_at` of an event may lie ahead; records of the delay ladder live for twice as long
DELIVER_AHEAD_S = 7 * 86_400.0

#: of an endpoint's filter: bytes of its JSON, comparisons, levels of nesting, and values of one list
FILTER_BYTES = 8192
FILTER_CONDITIONS = 50
FILTER_DEPTH = 20
FILTER_VALUES = 200
#: array elements that one evaluation of a filter examines; an event that needs more is delivered
FILTER_ELEMENTS = 10_000
#: of an endpoint's transform: characters, parts and levels of its syntax; steps of one evaluation (one takes about a
#: microsecond); bytes of the result, and of every value on the way to it that is compared or written
TRANSFORM = 2048
TRANSFORM_NODES = 200
TRANSFORM_DEPTH = 50
TRANSFORM_STEPS = 10_000
TRANSFORM_BYTES = 1_048_576
#: of an endpoint's list of included fields: paths, characters of a path, and names in it
INCLUDED = 100
INCLUDED_PATH = 256
INCLUDED_DEPTH = 10
#: days that a tenant may keep rows of the read model
TENANT_RETENTION = (1, 3650)
#: paths of a tenant that are hidden; their length and depth are those of included fields
REDACTED = 100


class TenantLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of entities that one tenant may have, in both modes together."""

    endpoints: int = 100_000
    keys: int = 1_000
    event_types: int = 1_000


DEFAULT_LIMITS = TenantLimits()


def check_room(present: TenantLimits, most: TenantLimits, what: Literal["endpoints", "keys", "event_types"]) -> None:
    """Raise `CommandRefused` if a tenant has reached a limit."""
    limit = getattr(most, what)
    if getattr(present, what) >= limit:
        raise CommandRefused(
            "limit_reached",
            f"a tenant may have {limit} {what.replace('_', ' ')}, and this one has as many: remove some, or let the "
            f"operator raise HOOKSTREAM_MAX_{what.upper()}_PER_TENANT",
        )
