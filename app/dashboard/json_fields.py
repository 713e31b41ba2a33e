"""Fields of a form that hold JSON."""

from __future__ import annotations

from typing import Any

import msgspec

from app.api.contract.fields import FieldError
from app.api.problems import invalid


def read_json(name: str, text: str, label: str) -> Any:
    """The value of the text. Raises `ApiError` 422 for the field `name` if it is not JSON, or nested too deep."""
    try:
        return msgspec.json.decode(text)
    except (ValueError, RecursionError) as error:
        raise invalid(FieldError(detail=f"the {label} is not JSON: {error}", pointer=f"/{name}")) from error
