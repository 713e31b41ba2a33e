"""Every result of an attempt and every reason for the end of a delivery: its name, its cause, the remedy, what follows.

The one table of them, for the person who owns the endpoint: API, dashboard, portal, e-mails and docs/receivers.md show
it. Keys are the words of `verdict.result_of`, HTTP statuses that say more than their class, and reasons.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import msgspec


class RetryRule(StrEnum):
    """What follows an outcome, as a sentence; a test compares them with `verdict.judge`."""

    NONE = "No further attempt."
    SCHEDULE = "The next attempt follows by the endpoint's schedule."
    RETRY_AFTER = "The next attempt follows by the endpoint's schedule, not before the time in `Retry-After`."
    GONE = (
        "No further attempt, and the endpoint is disabled, where its profile says so; otherwise the next attempt "
        "follows by the schedule."
    )
    RESUMED = "It is sent when the endpoint resumes."


class Outcome(msgspec.Struct, frozen=True):
    """One outcome explained."""

    #: a few words
    name: str
    rule: RetryRule
    #: what happened, in one sentence
    what: str
    #: what to do about it; empty: nothing
    do: str = ""


#: there was no answer
_REFUSALS = {
    "timeout": Outcome(
        "No answer in time",
        RetryRule.SCHEDULE,
        "The receiver did not answer in time.",
        "Answer 2xx as soon as the event is stored, and do the work afterwards. The event may have been processed: "
        "drop repetitions by the event's id.",
    ),
    "refused": Outcome(
        "Connection refused",
        RetryRule.SCHEDULE,
        "The connection was refused: no process listens at the address.",
        "Check that the receiver runs, that the URL's port is right, and that no firewall rejects us.",
    ),
    "reset": Outcome(
        "Connection broken off",
        RetryRule.SCHEDULE,
        "The connection broke before a complete answer.",
        "Look for crashes and restarts of the receiver or of a proxy before it. The event may have been processed.",
    ),
    "tls": Outcome(
        "The certificate is not accepted",
        RetryRule.SCHEDULE,
        "No trusted TLS connection could be established.",
        "Check that the certificate is valid, not expired, made for this host name, and sent with its intermediates.",
    ),
    "dns": Outcome(
        "The name cannot be resolved",
        RetryRule.SCHEDULE,
        "The host name does not resolve.",
        "Check the URL's spelling and the name's records in the public DNS.",
    ),
    "connect": Outcome(
        "No connection",
        RetryRule.SCHEDULE,
        "The address cannot be reached.",
        "Check routes and firewalls between the public internet and the receiver.",
    ),
    "blocked_address": Outcome(
        "The address is not allowed",
        RetryRule.SCHEDULE,
        "The URL leads to an address, scheme or port that must not be called from here.",
        "Use a public https address. Private networks are allowed by the operator alone (HOOKSTREAM_EGRESS_ALLOW).",
    ),
    "protocol": Outcome(
        "The response is not HTTP",
        RetryRule.SCHEDULE,
        "The server at the address does not speak HTTP.",
        "Check the port and the scheme of the URL: https:// to a TLS port.",
    ),
    "token": Outcome(
        "No access token",
        RetryRule.SCHEDULE,
        "The endpoint's token server gave no access token, so nothing was sent to the receiver.",
        "The attempt's error says what the token server answered. Check token URL, client id, client secret and scope "
        "of the endpoint's `auth`, and that the token server answers within 10 s.",
    ),
    "not_sent": Outcome(
        "No request could be built",
        RetryRule.SCHEDULE,
        "No request could be built: the endpoint's secret cannot be used, a header cannot be written, or its transform "
        "has no result for the event, which ends the delivery.",
        "The attempt's error says which. Rotate the endpoint's secret or change its headers. Where no key of the ring "
        "opens the secret, the operator has to repair HOOKSTREAM_SECRET_KEYS. Repair the transform, then retry.",
    ),
}
_TOO_MANY = Outcome(
    "Too many requests",
    RetryRule.RETRY_AFTER,
    "The receiver says that there are too many requests.",
    "Set rate_limit or max_in_flight of the endpoint, or let the receiver take more. Its Retry-After is respected.",
)
#: an answer that is not 2xx, by its class
_ANSWERS = {
    "ok": Outcome("Delivered", RetryRule.NONE, "The receiver accepted the event."),
    "available": Outcome(
        "Available to pull",
        RetryRule.NONE,
        "The event is in the log of the pull endpoint, from which its receiver reads it for as long as it is retained.",
    ),
    "http_1xx": Outcome("No final answer", RetryRule.RETRY_AFTER, "The receiver gave no final answer.", "Answer 2xx."),
    "http_3xx": Outcome(
        "Redirected",
        RetryRule.RETRY_AFTER,
        "The receiver redirects, and redirects are not followed.",
        "Set the endpoint's URL to where it redirects to.",
    ),
    "http_4xx": Outcome(
        "Refused by the receiver",
        RetryRule.RETRY_AFTER,
        "The receiver rejects the request.",
        "Its answer may say why; answer 2xx for what was received.",
    ),
    "http_429": _TOO_MANY,
    "http_5xx": Outcome(
        "The receiver failed",
        RetryRule.RETRY_AFTER,
        "The receiver failed while it handled the request.",
        "Look into its logs at the time of the attempt.",
    ),
}
#: where the status says more than its class
_STATUSES = {
    400: Outcome(
        "Bad request",
        RetryRule.RETRY_AFTER,
        "The receiver could not read the request.",
        "Check that it expects this event type's JSON, and that nothing before it changes the body.",
    ),
    401: Outcome(
        "Unauthorized",
        RetryRule.RETRY_AFTER,
        "The receiver does not accept the request as ours.",
        "Verify the signature over the raw body, byte for byte, with this endpoint's current secret; or set the header "
        "that it asks for in the endpoint's headers.",
    ),
    403: Outcome(
        "Forbidden",
        RetryRule.RETRY_AFTER,
        "The receiver, or a firewall before it, forbids the request.",
        "Verify the signature with this endpoint's current secret, and let no bot protection or filter stop us.",
    ),
    404: Outcome(
        "Not found",
        RetryRule.RETRY_AFTER,
        "There is nothing at the URL's path.",
        "Check the path, and that the receiver's route is deployed.",
    ),
    405: Outcome(
        "Method not allowed",
        RetryRule.RETRY_AFTER,
        "The receiver takes no POST at this path.",
        "Let the route accept POST.",
    ),
    408: Outcome(
        "Request timeout",
        RetryRule.RETRY_AFTER,
        "The receiver gave up waiting for the request.",
        "Look at the timeouts of the proxies before it.",
    ),
    409: Outcome(
        "Conflict",
        RetryRule.RETRY_AFTER,
        "The receiver says that it conflicts.",
        "If it has the event already, answer 2xx.",
    ),
    410: Outcome(
        "Gone",
        RetryRule.GONE,
        "The receiver says that it is gone for good.",
        "Bring it back, or remove the endpoint. Profiles that say so disable the endpoint at once.",
    ),
    413: Outcome(
        "Too large",
        RetryRule.RETRY_AFTER,
        "The request is too large for the receiver.",
        "Raise the body limit of the receiver and of its proxy.",
    ),
    415: Outcome(
        "Media type refused",
        RetryRule.RETRY_AFTER,
        "The receiver does not take the content type.",
        "Accept application/json.",
    ),
    422: Outcome(
        "Invalid for the receiver",
        RetryRule.RETRY_AFTER,
        "The receiver finds the event invalid.",
        "Check that it knows the event type; ignore what it does not.",
    ),
    429: _TOO_MANY,
    500: Outcome(
        "The receiver failed",
        RetryRule.RETRY_AFTER,
        "The receiver failed with an error of its own.",
        "Look into its logs at the time of the attempt.",
    ),
    501: Outcome(
        "Not supported",
        RetryRule.RETRY_AFTER,
        "The receiver does not support the request.",
        "Let the route accept POST.",
    ),
    502: Outcome(
        "Bad gateway",
        RetryRule.RETRY_AFTER,
        "A proxy could not reach the receiver.",
        "Check that the receiver runs behind its proxy.",
    ),
    503: Outcome(
        "Unavailable",
        RetryRule.RETRY_AFTER,
        "The receiver is overloaded or in maintenance.",
        "Wait, or give it more room; Retry-After is respected.",
    ),
    504: Outcome(
        "Gateway timeout",
        RetryRule.RETRY_AFTER,
        "A proxy waited too long for the receiver.",
        "Answer 2xx at once, and do the work afterwards.",
    ),
}
#: the delivery ended, or did not begin, without a request
_REASONS = {
    "endpoint_removed": Outcome(
        "Endpoint removed",
        RetryRule.NONE,
        "The endpoint was removed before it could be sent.",
        "Register the endpoint again.",
    ),
    "endpoint_disabled": Outcome(
        "Endpoint disabled",
        RetryRule.NONE,
        "The endpoint was disabled before it could be sent.",
        "Enable the endpoint, then retry or recover.",
    ),
    "cancelled": Outcome(
        "Cancelled", RetryRule.NONE, "It was cancelled on request.", "Retry it if it is still wanted."
    ),
    "discarded": Outcome(
        "Discarded",
        RetryRule.NONE,
        "It was dead, and was discarded on request: it is not needed any more.",
        "Retry it if it is still wanted.",
    ),
    "expired": Outcome(
        "Expired",
        RetryRule.NONE,
        "The event's `expires_at` has passed, or passes before the next attempt.",
        "Retry it if it is still wanted.",
    ),
    "overloaded": Outcome(
        "Waited too long",
        RetryRule.NONE,
        "The endpoint could not take the delivery for as long as a delivery waits: it was silent or too slow, or its "
        "rate limit is too low.",
        "Bring the receiver back, give it more room, or raise its limits; then retry.",
    ),
    "paused": Outcome(
        "Paused",
        RetryRule.RESUMED,
        "The endpoint is paused; the delivery is parked.",
        "Resume the endpoint: the delivery is sent then.",
    ),
    "unrepresentable": Outcome(
        "Not representable",
        RetryRule.NONE,
        "The profile's format cannot carry this event's data unchanged.",
        "Use another profile for the endpoint, or let the producer send other data.",
    ),
    "erased": Outcome(
        "The subject was erased",
        RetryRule.NONE,
        "The person whom the event is about was erased, and with them the key of its data.",
        "Nothing: the data cannot be restored.",
    ),
    "transform_failed": Outcome(
        "Transform failed",
        RetryRule.NONE,
        "The endpoint's `transform` or `include_fields` has no result for this event.",
        "The attempt's error says why. Repair the setting, try it with the preview, then retry.",
    ),
    "unreadable": Outcome(
        "Unreadable record",
        RetryRule.NONE,
        "The record is not an event.",
        "Ask the operator which program writes to the topics.",
    ),
    "ordering_limit": Outcome(
        "Ordering limit",
        RetryRule.NONE,
        "Too many deliveries waited behind a failing one of the same ordering key.",
        "Repair the receiver, unblock the ordering key (`hookstream ordering`), then retry.",
    ),
    "ordering_dropped": Outcome(
        "Dropped by the operator",
        RetryRule.NONE,
        "An operator dropped the deliveries of its ordering key.",
        "Retry it if it is still wanted.",
    ),
}
#: why no attempt follows a failed one
_ENDINGS = {
    "exhausted": Outcome(
        "All attempts failed",
        RetryRule.NONE,
        "All attempts of the schedule have failed.",
        "Repair the receiver, then retry.",
    ),
    "gone": Outcome(
        "Gone", RetryRule.NONE, "The receiver answered 410: it is gone for good.", "Bring it back, then retry."
    ),
}
_ALL = {**_REFUSALS, **_ANSWERS, **_REASONS, **_ENDINGS}
#: all words that `result` and `reason` can have
WORDS = frozenset(_ALL)
#: the whole table: words and statuses
OUTCOMES: Mapping[str, Outcome] = {
    **_REFUSALS,
    **{str(status): outcome for status, outcome in _STATUSES.items()},
    **_ANSWERS,
    **_REASONS,
    **_ENDINGS,
}


def outcome_of(result: str | None, status: int | None = None) -> Outcome | None:
    """The outcome of a result or reason; None for an unknown word."""
    if result is None:
        return None
    if result.startswith("http_") and status in _STATUSES:
        return _STATUSES[status]
    return _ALL.get(result)
