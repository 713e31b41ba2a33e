"""What an endpoint and a tenant may look like, with one sentence for each thing that is wrong.

Where the URL leads (private networks, ports) is judged by core/addresses.py with the operator's policy.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from difflib import get_close_matches

from app.core.matching import is_event_type, is_pattern
from app.core.model import Brand, Endpoint, EventType, Tenant

#: not `.` or `..`, which would be lost in a path
_ID = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9_.-]{1,128}")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_HEADER_VALUE = re.compile(r"[\x20-\x7e\t]{0,4096}")
#: a customer may not set these: they frame the request, or are ours
RESERVED_HEADERS = frozenset(
    [
        "host",
        "content-length",
        "content-type",
        "transfer-encoding",
        "connection",
        "keep-alive",
        "proxy-connection",
        "upgrade",
        "te",
        "trailer",
        "expect",
        "user-agent",
        "accept-encoding",
        "traceparent",
    ]
)
RESERVED_PREFIXES = ("webhook-", "svix-", "x-webhook-signature", "x-bota-signature")
_COLOR = re.compile(r"#[0-9a-fA-F]{6}")
#: what goes into a Content-Security-Policy has no room for surprises
_LOGO = re.compile(
    r"https://[a-z0-9.-]{1,253}(:[0-9]{1,5})?(/[A-Za-z0-9._~%/-]{0,1024})?"
    r"|data:image/(png|jpeg|webp|svg\+xml);base64,[A-Za-z0-9+/=]{1,32768}"
)
MAX_SCHEDULE = 100
MAX_DELAY_S = 7 * 86_400.0


def endpoint_problems(endpoint: Endpoint, profiles: Collection[str]) -> list[str]:
    """Everything that is wrong with an endpoint."""
    return [*_identity(endpoint, profiles), *_subscription(endpoint), *_headers(endpoint), *_policy(endpoint)]


def tenant_problems(tenant: Tenant, profiles: Collection[str]) -> list[str]:
    """Everything that is wrong with a tenant."""
    problems = []
    if not _ID.fullmatch(tenant.id):
        problems.append(f"tenant id {tenant.id!r}: 1 to 128 of letters, digits, _, . and -")
    if tenant.profile not in profiles:
        problems.append(_unknown_profile(tenant.profile, profiles))
    for address in tenant.notify_emails:
        if not is_address(address):
            problems.append(f"notify_emails: {address[:80]!r} is no e-mail address")
    return problems + (_brand_problems(tenant.brand) if tenant.brand else [])


def _brand_problems(brand: Brand) -> list[str]:
    problems = []
    if len(brand.name) > 64:
        problems.append("brand: a name has at most 64 characters")
    if brand.color and not _COLOR.fullmatch(brand.color):
        problems.append("brand: a color is #rrggbb")
    if brand.logo and not _LOGO.fullmatch(brand.logo):
        problems.append("brand: a logo is https://… or data:image/(png|jpeg|webp|svg+xml);base64,…, at most 32 KiB")
    return problems


def is_address(text: str) -> bool:
    """Whether e-mail can be sent there, as far as its form tells; no line break, space or list fits in."""
    return len(text) <= 254 and _ADDRESS.fullmatch(text) is not None


def event_type_problems(event_type: EventType) -> list[str]:
    """Everything that is wrong with an event type of a tenant; the schema itself is judged where it is compiled."""
    problems = []
    if not _ID.fullmatch(event_type.tenant):
        problems.append(f"tenant id {event_type.tenant!r}: 1 to 128 of letters, digits, _, . and -")
    if not is_event_type(event_type.name):
        problems.append(f"name {event_type.name!r}: dot-joined segments of letters, digits, _ and -")
    if len(event_type.description) > 1024:
        problems.append("description: at most 1024 characters")
    if len(event_type.schema or "") > 65_536:
        problems.append("schema: at most 65536 characters")
    if event_type.enforce != "off" and event_type.schema is None:
        problems.append(f"mode: {event_type.enforce} needs a schema")
    return problems


def _identity(endpoint: Endpoint, profiles: Collection[str]) -> Iterator[str]:
    if not _ID.fullmatch(endpoint.id):
        yield f"id {endpoint.id!r}: 1 to 128 of letters, digits, _, . and -"
    if not _ID.fullmatch(endpoint.tenant):
        yield f"tenant {endpoint.tenant!r}: 1 to 128 of letters, digits, _, . and -"
    for name in (endpoint.profile, endpoint.signature or endpoint.profile):
        if name not in profiles:
            yield _unknown_profile(name, profiles)
            break
    if not endpoint.url.startswith(("https://", "http://")) or len(endpoint.url) > 2048:
        yield "url: begins with https:// and has at most 2048 characters"
    if len(endpoint.description) > 1024 or len(endpoint.status_reason or "") > 1024:
        yield "description and status_reason: at most 1024 characters"
    if len(endpoint.metadata) > 50 or any(len(k) > 64 or len(v) > 512 for k, v in endpoint.metadata.items()):
        yield "metadata: at most 50 entries, names of at most 64 and values of at most 512 characters"


def _subscription(endpoint: Endpoint) -> Iterator[str]:
    if not endpoint.events:
        yield "events: at least one type, `*` or a prefix such as `recording.*`"
    if len(endpoint.events) > 500:
        yield "events: at most 500"
    for pattern in endpoint.events:
        if not is_pattern(pattern):
            yield f"events: {pattern!r} is neither a type, nor `*`, nor a prefix such as `recording.*`"


def _headers(endpoint: Endpoint) -> Iterator[str]:
    for name, value in endpoint.headers.items():
        if not _TOKEN.fullmatch(name):
            yield f"headers: {name!r} is no header name"
        elif name.lower() in RESERVED_HEADERS or name.lower().startswith(RESERVED_PREFIXES):
            yield f"headers: {name} is set by the service"
        if not _HEADER_VALUE.fullmatch(value):
            yield f"headers: the value of {name} may hold visible ASCII and spaces, no line breaks"
    if len(endpoint.headers) > 30:
        yield "headers: at most 30"


def _policy(endpoint: Endpoint) -> Iterator[str]:
    if endpoint.schedule_s is not None:
        if not 1 <= len(endpoint.schedule_s) <= MAX_SCHEDULE:
            yield f"schedule: 1 to {MAX_SCHEDULE} delays"
        if any(not 0 <= delay <= MAX_DELAY_S for delay in endpoint.schedule_s):
            yield "schedule: each delay is between 0 seconds and 7 days"
    if endpoint.timeout_s is not None and not 0.1 <= endpoint.timeout_s <= 60:
        yield "timeout: 0.1 to 60 seconds"
    if endpoint.max_in_flight is not None and not 1 <= endpoint.max_in_flight <= 1000:
        yield "max_in_flight: 1 to 1000"
    if endpoint.rate_limit is not None and not 0.001 <= endpoint.rate_limit <= 100_000:
        yield "rate_limit: 0.001 to 100000 requests per second"
    if endpoint.disable_after_failures is not None and not 0 <= endpoint.disable_after_failures <= 1_000_000:
        yield "disable_after_failures: 0 (never) to 1000000"
    if endpoint.disable_after_days is not None and not 0 <= endpoint.disable_after_days <= 365:
        yield "disable_after_days: 0 (never) to 365"


def _unknown_profile(name: str, profiles: Collection[str]) -> str:
    near = get_close_matches(name, profiles, n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return f"profile {name!r} is unknown{hint}: one of {', '.join(sorted(profiles))}"
