"""How much of everything a tenant may write: the API's contract and the registry's rules have it from here.

What is within all limits and still too large for a record of the registry is refused by its size.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from app.core.errors import CommandRefused

#: characters
ID = 128
EVENT_ID = 256
TYPE = 256
KEY = 512
NAME = 256
TIME = 64
URL = 2048
DESCRIPTION = 1024
SECRET = 256
ADDRESS = 254
METADATA_NAME = 64
METADATA_VALUE = 512
HEADER_NAME = 128
HEADER_VALUE = 4096
BRAND_NAME = 64
BRAND_LOGO = 33_000
SCHEMA = 65_536

#: entries
PATTERNS = 500
METADATA = 50
HEADERS = 30
ADDRESSES = 20
SCOPES = 2
SECRETS = 10
REPLAY_TYPES = 100
SCHEDULE = 100
#: names and values of all headers together; many servers take no more than 8 KiB, few more than 16 KiB
HEADER_BYTES = 16_384
#: the longest delay, and all delays of a schedule together: deliveries.dead keeps what has died for as long
DELAY_S = 7 * 86_400.0
SCHEDULE_S = 30 * 86_400.0
TIMEOUT_S = (0.1, 60.0)
IN_FLIGHT = (1, 1000)
RATE = (0.001, 100_000.0)
FAILURES = 1_000_000
DAYS = 365.0


class TenantLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What one tenant may have, in both modes together."""

    endpoints: int = 100_000
    keys: int = 1_000
    event_types: int = 1_000


DEFAULT_LIMITS = TenantLimits()


def check_room(present: TenantLimits, most: TenantLimits, what: Literal["endpoints", "keys", "event_types"]) -> None:
    """Refuse one more where a tenant has as many as it may."""
    limit = getattr(most, what)
    if getattr(present, what) >= limit:
        raise CommandRefused(
            "limit_reached",
            f"a tenant may have {limit} {what.replace('_', ' ')}, and this one has as many: remove some, or let the "
            f"operator raise HOOKSTREAM_MAX_{what.upper()}_PER_TENANT",
        )
