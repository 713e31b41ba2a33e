"""Which settings a pull endpoint may have."""

from __future__ import annotations

from typing import Any

import pytest

from app.core.model.endpoint import Endpoint
from app.core.model.endpoint_kind import kind_problems
from app.core.model.endpoint_settings import NAMES
from app.core.model.receiver_auth import BearerAuth


def problems(**fields: Any) -> list[str]:
    endpoint = Endpoint(id="ep", tenant="t", mode="live", profile="standard", events=("*",), **fields)
    return list(kind_problems({name: getattr(endpoint, name) for name in NAMES}))


def test_a_push_endpoint_needs_a_url_and_a_pull_endpoint_has_none() -> None:
    assert problems(url="https://x.example") == []
    assert problems(url="") == ["url: is required"]
    assert problems(url="", kind="pull") == []
    assert problems(url="https://x.example", kind="pull") == ["url: a pull endpoint has none"]


@pytest.mark.parametrize(
    "fields",
    [
        {"headers": {"x-a": "b"}},
        {"sensitive_headers": ("x-a",)},
        {"auth": BearerAuth(token="t")},
        {"schedule": (0.0,)},
        {"timeout": 5.0},
        {"rate_limit": 5.0},
        {"max_in_flight": 5},
        {"disable_after_failures": 5},
        {"disable_after_days": 5.0},
        {"verification": "challenge"},
        {"signature_scheme": "rfc9421"},
    ],
)
def test_settings_of_requests_are_refused(fields: dict[str, Any]) -> None:
    (problem,) = problems(url="", kind="pull", **fields)
    assert problem.startswith(f"{next(iter(fields))}: ")


@pytest.mark.parametrize(
    "fields",
    [
        {"filter": {"type": "a.b"}},
        {"channels": ("eu",)},
        {"envelope": "raw"},
        {"transform": "id"},
        {"ordering": "fifo"},
        {"signature_scheme": "both"},
        {"signature": "bota"},
    ],
)
def test_settings_of_what_is_delivered_are_taken(fields: dict[str, Any]) -> None:
    assert problems(url="", kind="pull", **fields) == []
