"""What a field may have is listed when it has something else."""

from __future__ import annotations

from typing import Any

import pytest

from app.core.model.endpoint import Endpoint
from app.core.model.shape_problems import shape_problems


@pytest.mark.parametrize(
    ("field", "value", "pointer", "sentence"),
    [
        ("ordering", "lifo", "/ordering", "Invalid enum value 'lifo', not one of fifo, none"),
        (
            "auth",
            {"type": "oauth2"},
            "/auth/type",
            "Invalid value 'oauth2', not one of none, basic, bearer, header, oauth2_client_credentials, mtls",
        ),
        ("auth", {"type": "bearer", "token": 5}, "/auth/token", "Expected `str`, got `int`"),
    ],
)
def test_choices_are_listed(field: str, value: Any, pointer: str, sentence: str) -> None:
    assert (pointer, sentence) in list(shape_problems({field: value}, Endpoint))
