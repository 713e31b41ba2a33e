"""The settings that decide what a receiver gets, checked before a command is sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.api.contract.fields import FieldError
from app.api.problems import invalid
from app.core.model.endpoint_settings import RULES

#: the settings of an endpoint that a preview may replace
SHAPE_SETTINGS = ("envelope", "include_fields", "transform")


def check_shape(settings: Mapping[str, Any]) -> None:
    """Raise `ApiError` 422 with every problem of these settings among others."""
    problems = [
        FieldError(detail=sentence, pointer=f"/{name}")
        for name in SHAPE_SETTINGS
        if name in settings and name in RULES
        for sentence in RULES[name](settings[name])
    ]
    if problems:
        raise invalid(*problems)
