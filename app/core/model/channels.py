"""Channels: an event may carry some, and an endpoint may ask for the events that carry one of its own."""

from __future__ import annotations

import re
from collections.abc import Sequence

from app.core import limits

CHANNEL_PATTERN = r"^[A-Za-z0-9_.:-]{1,128}$"
_CHANNEL = re.compile(CHANNEL_PATTERN)


def is_channel(text: str) -> bool:
    """Whether `text` can be a channel."""
    return _CHANNEL.fullmatch(text) is not None


def channels_of(text: str) -> list[str]:
    """The channels of a comma-separated text, with the rest of a list that is too long as its last entry."""
    return [each.strip() for each in text.split(",", limits.CHANNELS)]


def carries(event_channels: Sequence[str], wanted: Sequence[str] | None) -> bool:
    """Whether an event reaches an endpoint that wants these channels; None: it wants every event."""
    return wanted is None or not set(wanted).isdisjoint(event_channels)
