"""Fields, pages and problems that all bodies share."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from app.core import limits

Url = Annotated[str, Meta(max_length=limits.URL, description="https://…", examples=["https://customer.example/hooks"])]
Pattern = Annotated[str, Meta(max_length=limits.TYPE)]
EventPatterns = Annotated[
    Annotated[list[Pattern], Meta(max_length=limits.PATTERNS)] | Pattern,
    Meta(description="Event types: exact, `*`, or a prefix such as `recording.*`.", examples=[["recording.*"]]),
]
ProfileName = Annotated[str, Meta(max_length=limits.ID)]
Description = Annotated[str, Meta(max_length=limits.DESCRIPTION)]
Metadata = Annotated[
    dict[Annotated[str, Meta(max_length=limits.METADATA_NAME)], Annotated[str, Meta(max_length=limits.METADATA_VALUE)]],
    Meta(max_length=limits.METADATA),
]
Key = Annotated[str, Meta(max_length=limits.KEY)]
Subject = Annotated[str, Meta(min_length=1, max_length=limits.SUBJECT, examples=["customer-4711"])]
TypeName = Annotated[str, Meta(max_length=limits.TYPE, examples=["recording.created"])]


class Input(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request body. Unknown fields are rejected with 422."""


class PageOut(msgspec.Struct, frozen=True, kw_only=True):
    """One page of a list."""

    data: list[Any]
    #: give it as `cursor` to get the next page; null: this is the last one
    next_cursor: str | None


class FieldError(msgspec.Struct, frozen=True, kw_only=True):
    """One invalid field."""

    detail: str
    #: JSON Pointer into the body, where it can be told
    pointer: str | None = None


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    #: the request's id
    instance: str
    errors: list[FieldError] = []
