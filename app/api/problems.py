"""Errors as RFC 9457 problem documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from app.api.contract.fields import FieldError, Problem
from app.core.errors import CommandRefused
from app.core.model.shape_problems import in_words, shape_problems

MEDIA_TYPE = "application/problem+json"
#: the registry's reasons for refusing, as HTTP has them
_STATUS = {
    "not_found": 404,
    "conflict": 412,
    "exists": 409,
    "uid_taken": 409,
    "tenant_deleted": 409,
    "unverified": 409,
    "limit_reached": 409,
    "invalid": 422,
    "unreadable": 400,
}


class ApiError(Exception):
    """Ends a request with a problem."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail.encode("utf-8", "replace").decode()  # what it quotes may be half a character
        self.errors = list(errors)
        self.headers = dict(headers or {})


def document(error: ApiError, request_id: str) -> bytes:
    """The problem as JSON; `type` is a stable code."""
    return msgspec.json.encode(
        Problem(
            type=f"urn:hookstream:problem:{error.code}",
            title=HTTPStatus(error.status).phrase,
            status=error.status,
            detail=error.detail,
            instance=request_id,
            errors=error.errors,
        )
    )


def not_found(what: str, name: str) -> ApiError:
    """A 404 that does not reveal whether another tenant has the resource."""
    return ApiError(404, "not_found", f"there is no {what} {name}")


def invalid(*problems: FieldError) -> ApiError:
    """A 422 for a body that is valid JSON of the right type but cannot be carried out."""
    return ApiError(422, "invalid", "; ".join(map(_sentence, problems)), errors=problems)


def _sentence(problem: FieldError) -> str:
    name = (problem.pointer or "").strip("/").replace("/", ".")
    return f"{name}: {problem.detail}" if name and _field(problem.detail) is None else problem.detail


def refused(error: CommandRefused) -> ApiError:
    """The registry has refused a command."""
    details = error.detail.split("; ") if error.code in ("invalid", "uid_taken") else []
    problems = [FieldError(detail=detail, pointer=_field(detail)) for detail in details]
    return ApiError(_STATUS.get(error.code, 409), error.code, error.detail, errors=problems)


def unfit(error: msgspec.ValidationError, values: object = None, kind: Any = None) -> ApiError:
    """A 422 for a body that does not fit its type. With the values and the struct, all invalid fields are named."""
    problems = []
    if isinstance(values, dict) and isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        problems = [FieldError(detail=detail, pointer=pointer) for pointer, detail in shape_problems(values, kind)]
    if not problems:
        pointer, detail = in_words(error)
        problems = [FieldError(detail=detail, pointer=pointer)]
    return invalid(*problems)


def _field(detail: str) -> str | None:
    """The rules' sentences begin with the field that they are about."""
    name, colon, _ = detail.partition(":")
    return f"/{name}" if colon and name.isidentifier() else None


def reused() -> ApiError:
    """A 422 for an Idempotency-Key that another request has used."""
    return ApiError(422, "idempotency_key_reused", "this Idempotency-Key was used for another request")
