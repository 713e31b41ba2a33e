"""What an outcome means and what to do about it, in words for the person who owns the endpoint.

Every result word that an attempt record can have is here: the outcomes of requests (verdict.result_of) and the reasons
for which a delivery ends without one. An unknown word gets no hint.
"""

from __future__ import annotations

import msgspec


class OutcomeHint(msgspec.Struct, frozen=True):
    """One outcome explained."""

    #: what happened, in one sentence
    what: str
    #: what to do about it; empty: nothing
    do: str = ""


#: there was no answer
_REFUSALS = {
    "timeout": OutcomeHint(
        "The receiver did not answer in time.",
        "Answer 2xx as soon as the event is stored, and do the work afterwards. The event may have been processed: "
        "drop repetitions by the event's id.",
    ),
    "refused": OutcomeHint(
        "The connection was refused: no process listens at the address.",
        "Check that the receiver runs, that the URL's port is right, and that no firewall rejects us.",
    ),
    "reset": OutcomeHint(
        "The connection broke before a complete answer.",
        "Look for crashes and restarts of the receiver or of a proxy before it. The event may have been processed.",
    ),
    "tls": OutcomeHint(
        "No trusted TLS connection could be established.",
        "Check that the certificate is valid, not expired, made for this host name, and sent with its intermediates.",
    ),
    "dns": OutcomeHint(
        "The host name does not resolve.", "Check the URL's spelling and the name's records in the public DNS."
    ),
    "connect": OutcomeHint(
        "The address cannot be reached.", "Check routes and firewalls between the public internet and the receiver."
    ),
    "blocked_address": OutcomeHint(
        "The URL leads to an address, scheme or port that must not be called from here.",
        "Use a public https address. Private networks are allowed by the operator alone (HOOKSTREAM_EGRESS_ALLOW).",
    ),
    "protocol": OutcomeHint(
        "The server at the address does not speak HTTP.",
        "Check the port and the scheme of the URL: https:// to a TLS port.",
    ),
    "not_sent": OutcomeHint(
        "No request could be built: the endpoint's secret cannot be used, or a header cannot be written.",
        "The attempt's error says which. Rotate the endpoint's secret or change its headers. Where no key of the ring "
        "opens the secret, the operator has to repair HOOKSTREAM_SECRET_KEYS.",
    ),
}
_TOO_MANY = OutcomeHint(
    "The receiver says that there are too many requests.",
    "Set rate_limit or max_in_flight of the endpoint, or let the receiver take more. Its Retry-After is respected.",
)
#: an answer that is not 2xx, by its class
_ANSWERS = {
    "ok": OutcomeHint("The receiver accepted the event."),
    "http_1xx": OutcomeHint("The receiver gave no final answer.", "Answer 2xx."),
    "http_3xx": OutcomeHint(
        "The receiver redirects, and redirects are not followed.", "Set the endpoint's URL to where it redirects to."
    ),
    "http_4xx": OutcomeHint(
        "The receiver rejects the request.", "Its answer may say why; answer 2xx for what was received."
    ),
    "http_429": _TOO_MANY,
    "http_5xx": OutcomeHint(
        "The receiver failed while it handled the request.", "Look into its logs at the time of the attempt."
    ),
}
#: where the status says more than its class
_STATUSES = {
    400: OutcomeHint(
        "The receiver could not read the request.",
        "Check that it expects this event type's JSON, and that nothing before it changes the body.",
    ),
    401: OutcomeHint(
        "The receiver does not accept the request as ours.",
        "Verify the signature over the raw body, byte for byte, with this endpoint's current secret; or set the header "
        "that it asks for in the endpoint's headers.",
    ),
    403: OutcomeHint(
        "The receiver, or a firewall before it, forbids the request.",
        "Verify the signature with this endpoint's current secret, and let no bot protection or filter stop us.",
    ),
    404: OutcomeHint(
        "There is nothing at the URL's path.", "Check the path, and that the receiver's route is deployed."
    ),
    405: OutcomeHint("The receiver takes no POST at this path.", "Let the route accept POST."),
    408: OutcomeHint("The receiver gave up waiting for the request.", "Look at the timeouts of the proxies before it."),
    409: OutcomeHint("The receiver says that it conflicts.", "If it has the event already, answer 2xx."),
    410: OutcomeHint(
        "The receiver says that it is gone for good.",
        "Bring it back, or remove the endpoint. Profiles that say so disable the endpoint at once.",
    ),
    413: OutcomeHint(
        "The request is too large for the receiver.", "Raise the body limit of the receiver and of its proxy."
    ),
    415: OutcomeHint("The receiver does not take the content type.", "Accept application/json."),
    422: OutcomeHint(
        "The receiver finds the event invalid.", "Check that it knows the event type; ignore what it does not."
    ),
    429: _TOO_MANY,
    500: OutcomeHint("The receiver failed with an error of its own.", "Look into its logs at the time of the attempt."),
    501: OutcomeHint("The receiver does not support the request.", "Let the route accept POST."),
    502: OutcomeHint("A proxy could not reach the receiver.", "Check that the receiver runs behind its proxy."),
    503: OutcomeHint(
        "The receiver is overloaded or in maintenance.", "Wait, or give it more room; Retry-After is respected."
    ),
    504: OutcomeHint("A proxy waited too long for the receiver.", "Answer 2xx at once, and do the work afterwards."),
}
#: the delivery ended, or did not begin, without a request
_REASONS = {
    "endpoint_removed": OutcomeHint(
        "The endpoint was removed before it could be sent.", "Register the endpoint again."
    ),
    "endpoint_disabled": OutcomeHint(
        "The endpoint was disabled before it could be sent.", "Enable the endpoint, then retry or recover."
    ),
    "cancelled": OutcomeHint("It was cancelled on request.", "Retry it if it is still wanted."),
    "overloaded": OutcomeHint(
        "The endpoint could not take the delivery for as long as a delivery waits: it was silent or too slow, or its "
        "rate limit is too low.",
        "Bring the receiver back, give it more room, or raise its limits; then retry.",
    ),
    "paused": OutcomeHint(
        "The endpoint is paused; the delivery is parked.", "Resume the endpoint: the delivery is sent then."
    ),
    "unrepresentable": OutcomeHint(
        "The profile's format cannot carry this event's data unchanged.",
        "Use another profile for the endpoint, or let the producer send other data.",
    ),
    "unreadable": OutcomeHint("The record is not an event.", "Ask the operator which program writes to the topics."),
    "ordering_limit": OutcomeHint(
        "Too many deliveries waited behind a failing one of the same ordering key.",
        "Repair the receiver, unblock the ordering key (`hookstream ordering`), then retry.",
    ),
    "ordering_dropped": OutcomeHint(
        "An operator dropped the deliveries of its ordering key.", "Retry it if it is still wanted."
    ),
}
#: why no attempt follows a failed one
_ENDINGS = {
    "exhausted": OutcomeHint("All attempts of the schedule have failed.", "Repair the receiver, then retry."),
    "gone": OutcomeHint("The receiver answered 410: it is gone for good.", "Bring it back, then retry."),
}
_ALL = {**_REFUSALS, **_ANSWERS, **_REASONS, **_ENDINGS}
#: all words that `result` and `reason` can have
WORDS = frozenset(_ALL)


def hint(result: str | None, status: int | None = None) -> OutcomeHint | None:
    """The explanation of an outcome; None for an unknown word."""
    if result is None:
        return None
    if result.startswith("http_") and status in _STATUSES:
        return _STATUSES[status]
    return _ALL.get(result)


#: characters that are quoted of foreign text
_QUOTED = 300


def plain(text: str) -> str:
    """Foreign text on one line, without control characters, clipped to 300 characters."""
    line = "".join(character if character.isprintable() else " " for character in text[: 2 * _QUOTED])
    return " ".join(line.split())[:_QUOTED]
