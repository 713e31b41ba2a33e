"""The request of a page, and the results that a page's handler may return."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any, TypeVar

import msgspec

from app.api.grants import Grant
from app.api.problems import unfit
from app.api.request import ApiRequest, ApiServices, Caller
from app.api.server.authentication import Authenticator
from app.dashboard.live import LiveHub, Subscription
from app.dashboard.login_throttle import LoginThrottle
from app.ports.cluster import ClusterInspector

T = TypeVar("T")


class PageRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A decoded and authorised request for a page."""

    #: None: a stranger
    grant: Grant | None
    caller: Caller
    #: what the page's links begin with: `/ui/t/<tenant>/<mode>` or `/portal/<token>`
    base: str
    csrf: str
    path: Mapping[str, str]
    query: Mapping[str, str]
    #: every value of every field
    form: Mapping[str, Sequence[str]] = {}
    #: the path and query of this request
    here: str = ""
    host: str = ""
    address: str = ""
    #: htmx asks for a part of a page
    partial: bool = False
    cookies: Mapping[str, str] = {}
    last_event_id: str = ""

    @property
    def may_write(self) -> bool:
        """Whether the viewer may change anything, so that the page has buttons."""
        return "write" in self.caller.scopes

    @property
    def is_portal(self) -> bool:
        """Whether the viewer uses a portal link."""
        return self.grant is not None and self.grant.kind == "portal"

    @property
    def is_operator(self) -> bool:
        """Whether the viewer is the operator."""
        return self.grant is not None and self.grant.kind == "operator"

    def field(self, name: str, otherwise: str = "") -> str:
        """The first value of a field, without surrounding whitespace."""
        values = self.form.get(name)
        return values[0].strip() if values else otherwise

    def call(self, body: Any = None, *, key: str | None = None, **path: str) -> ApiRequest:
        """The request in the form that handlers of the API take."""
        version = self.field("version")
        print_ = sha256(msgspec.json.encode([self.path, sorted(self.form.items())])).hexdigest()
        return ApiRequest(
            caller=self.caller,
            path={**self.path, **path},
            query={},
            body=body,
            fingerprint=print_,
            headers={"host": self.host} | ({"if-match": version} if version else {}),
            idempotency_key=key or None,
        )


class TemplatePage(msgspec.Struct, frozen=True, kw_only=True):
    """A page from a template."""

    template: str
    values: Mapping[str, Any] = {}
    status: int = 200
    cookies: Mapping[str, str] = {}


class Redirect(msgspec.Struct, frozen=True, kw_only=True):
    """A redirect to another page."""

    to: str
    #: name → value; empty: remove it
    cookies: Mapping[str, str] = {}


class EventStream(msgspec.Struct, frozen=True, kw_only=True):
    """Server-sent events, until the page is closed."""

    frames: Subscription


class StaticFile(msgspec.Struct, frozen=True, kw_only=True):
    """A script, style sheet or image."""

    body: bytes
    media_type: str
    #: its address changes with its content
    lasting: bool = False


PageResult = TemplatePage | Redirect | EventStream | StaticFile


class PageContext(msgspec.Struct, frozen=True, kw_only=True):
    """The services that page handlers use."""

    api: ApiServices
    hub: LiveHub
    operations: ClusterInspector
    gate: Authenticator
    login_throttle: LoginThrottle
    #: a part of a page from its template and values; the site sets it
    render: Callable[..., str]

    def acting(self, caller: Caller) -> PageContext:
        """The same services, with the caller's name for the audit log."""
        return msgspec.structs.replace(self, api=self.api.acting(caller.name))


PageHandler = Callable[[PageContext, PageRequest], Awaitable[PageResult]]


def body_of(kind: type[T], values: Mapping[str, Any]) -> T:
    """The values of a form as the body of an API operation. Raises the API's `ApiError`."""
    try:
        return msgspec.convert(dict(values), kind)
    except msgspec.ValidationError as error:
        raise unfit(error, dict(values), kind) from error
