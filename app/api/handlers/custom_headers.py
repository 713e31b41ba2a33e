"""Custom headers of a request: checked, and their sensitive values sealed before they are sent to the registry."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from app.api.contract.fields import FieldError
from app.api.problems import invalid
from app.api.request import ApiServices
from app.core.model.endpoint import Endpoint
from app.core.model.endpoint_settings import RULES
from app.core.model.sensitive_headers import StoredHeaders, has_plain, stored


def sealed_headers(
    api: ApiServices,
    headers: Mapping[str, str],
    owner: str,
    current: Endpoint | None = None,
    *,
    marked: Collection[str] = (),
) -> StoredHeaders:
    """What the registry stores; `marked` are the endpoint's `sensitive_headers`.

    Raises `ApiError` for headers that cannot be sent, and for a mask without a value.
    """
    problems = [FieldError(detail=sentence, pointer="/headers") for sentence in RULES["headers"](headers)]
    if problems:
        raise invalid(*problems)
    now_ms = api.clock.now_ms()
    result, unmatched = stored(headers, current, lambda value: api.keyring.seal(value, owner, now_ms), marked)
    if unmatched:
        detail = f"{unmatched[0]} is masked, but has no present value to keep: send its value"
        raise invalid(FieldError(detail=detail, pointer="/headers"))
    return result


def changed_headers(api: ApiServices, endpoint: Endpoint, changes: Mapping[str, Any]) -> dict[str, Any]:
    """`changes` with sealed headers; a change of other fields seals the values that are still stored in plain text."""
    if not changes.keys() & {"headers", "sensitive_headers"} and not (changes and has_plain(endpoint)):
        return dict(changes)
    marked = changes.get("sensitive_headers", endpoint.sensitive_headers) or ()
    headers = changes.get("headers", endpoint.headers)
    result = sealed_headers(api, headers, endpoint.secret_owner, endpoint, marked=marked)
    return {**changes, "headers": result.headers, "sealed_headers": result.sealed}
