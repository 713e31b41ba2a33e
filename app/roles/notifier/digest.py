"""The content of an e-mail about notices, and when it is sent. Foreign text in it breaks no line and no header."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from app.core.email import DigestEntry, EmailDigest
from app.core.outcomes import outcome_of
from app.core.records.notice import Notice
from app.core.wording import plain

#: notices that one e-mail shows; it says how many more there are
_SHOWN = 50
_FIRST_PAUSE_S = 30.0
_LONGEST_PAUSE_S = 3600.0
_TITLES = {
    "endpoint.disabled": "disabled",
    "endpoint.failing": "failing",
    "endpoint.circuit_opened": "silent",
    "endpoint.recovered": "recovered",
    "endpoint.circuit_closed": "answering again",
    "delivery.dead": "with lost deliveries",
}
_TO_DO = {
    "endpoint.disabled": "Repair the receiver, enable the endpoint, then recover the events that it missed. Deliveries "
    "that waited for it were cancelled; events of the last 7 days can be recovered.",
    "endpoint.failing": "Repair the receiver. Failed deliveries are retried automatically for as long as their "
    "schedule lasts.",
    "endpoint.circuit_opened": "Bring the receiver back. It is probed automatically, at least every five minutes, and "
    "waiting deliveries are sent after it has answered.",
    "endpoint.recovered": "",
    "endpoint.circuit_closed": "",
    "delivery.dead": "Repair the receiver, then retry the deliveries, or replay the time in which they failed.",
}


class EmailPace(msgspec.Struct, frozen=True, kw_only=True):
    """How often a tenant gets e-mails, in seconds."""

    #: notices within this time after the first one go into the same e-mail
    digest_s: float
    #: between two e-mails
    cooldown_s: float

    def due_s(self, first_s: float, sent_s: float | None) -> float:
        """When to send: the first notice came at `first_s`, the last e-mail was sent at `sent_s`."""
        ready = first_s + self.digest_s
        return ready if sent_s is None else max(ready, sent_s + self.cooldown_s)


def pause_s(failures: int) -> float:
    """Seconds to wait after this number of failures in a row."""
    return min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(failures - 1, 20))


def digest(tenant: str, notices: Sequence[Notice], unsubscribe: str | None) -> EmailDigest:
    """The e-mail about these notices, the most serious ones first."""
    rank = {kind: number for number, kind in enumerate(_TITLES)}
    ordered = sorted(notices, key=lambda each: (rank.get(each.kind, len(rank)), each.at))
    return EmailDigest(
        subject=subject(notices),
        tenant=plain(tenant),
        entries=tuple(map(_entry, ordered[:_SHOWN])),
        more=max(0, len(ordered) - _SHOWN),
        unsubscribe=unsubscribe,
    )


def subject(notices: Sequence[Notice]) -> str:
    """The subject: counts only, no foreign text."""
    endpoints = {(each.kind, each.endpoint_id) for each in notices}
    counts: Counter[str] = Counter(kind for kind, _ in endpoints)
    parts = [f"{counts[kind]} {title}" for kind, title in _TITLES.items() if counts[kind]]
    noun = "webhook endpoint" if len({each for _, each in endpoints}) == 1 else "webhook endpoints"
    return f"{noun}: {', '.join(parts)}".capitalize()


def _entry(notice: Notice) -> DigestEntry:
    status = notice.data.get("last_status")
    result = notice.data.get("last_result")
    explanation = outcome_of(str(result) if result else None, status if isinstance(status, int) else None)
    helps = explanation is not None and _TO_DO.get(notice.kind) != ""
    return DigestEntry(
        title=f"Endpoint {_TITLES.get(notice.kind, '')}".strip(),
        at=plain(notice.at),
        mode=notice.mode,
        endpoint_id=plain(notice.endpoint_id),
        description=plain(str(notice.data.get("description") or "")),
        summary=plain(notice.summary),
        meaning=explanation.what if helps and explanation else "",
        advice=explanation.do if helps and explanation else "",
        next_step=_TO_DO.get(notice.kind, ""),
    )
