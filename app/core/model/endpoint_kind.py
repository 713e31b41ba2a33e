"""How an endpoint's receiver gets its events: they are pushed to a URL, or the receiver pulls them from a log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, Protocol

from app.core.model.setting_surface import Surface, shown

EndpointKind = Literal["push", "pull"]


class Addressed(Protocol):
    """An endpoint, as the registry stores it or the API shows it."""

    @property
    def id(self) -> str: ...
    @property
    def url(self) -> str: ...
    @property
    def uid(self) -> str | None: ...
    @property
    def description(self) -> str: ...


KIND = shown(
    "`push`: events are posted to the URL. `pull`: the receiver reads them from a log through the API, and the "
    "endpoint has no URL. It cannot be changed.",
    Surface(
        option="--kind",
        label="Kind",
        widget="choice",
        choices=(("push", "push: post to the URL"), ("pull", "pull: the receiver asks for them")),
        in_portal=False,
    ),
)
#: settings of requests to a URL
_OF_REQUESTS = (
    "headers",
    "sensitive_headers",
    "auth",
    "schedule",
    "timeout",
    "rate_limit",
    "max_in_flight",
    "disable_after_failures",
    "disable_after_days",
)


def kind_problems(values: Mapping[str, Any]) -> Iterator[str]:
    """Settings of an endpoint that contradict its kind."""
    if values["kind"] == "push":
        if not values["url"]:
            yield "url: is required"
        return
    if values["url"]:
        yield "url: a pull endpoint has none"
    for name in _OF_REQUESTS:
        if values[name]:
            yield f"{name}: a pull endpoint sends no requests"
    if values["verification"] != "none":
        yield "verification: a pull endpoint has no URL to verify"
    if values["signature_scheme"] == "rfc9421":
        yield "signature_scheme: rfc9421 signs requests, and a pull endpoint sends none"


def title_of(endpoint: Addressed) -> str:
    """What an endpoint is called where lists show URLs."""
    return endpoint.url or f"pull: {endpoint.uid or endpoint.description or endpoint.id}"
