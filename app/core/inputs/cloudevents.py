"""CloudEvents of an input, in the Kafka protocol binding 1.0: binary and structured, passed on as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from app.core.errors import MalformedEvent
from app.core.inputs.record_values import InputRecord, RecordValues
from app.core.model.timestamps import iso
from app.core.records.headers import RecordHeader

_ABSENT = msgspec.Raw(b"null")


class _Attributes(msgspec.Struct):
    """What of a structured CloudEvent decides how it is passed on."""

    specversion: msgspec.Raw = _ABSENT
    time: msgspec.Raw = _ABSENT
    orderingkey: str | None = None
    partitionkey: str | None = None


_attributes = msgspec.json.Decoder(_Attributes)
#: fields that an input may declare, which become headers of the same meaning
_DECLARED = ("tenant", "mode", "idempotency_key", "ordering_key", "deliver_at", "expires_at")


def passed_on(
    record: InputRecord, values: RecordValues, texts: Mapping[str, str | None]
) -> tuple[bytes, list[RecordHeader]]:
    """Value and headers: the event's own, its record's time where it has none, and what the input declares.

    Its ordering key is what the input declares, else its extension `orderingkey` or `partitionkey`, else the record's
    key. Raises `MalformedEvent` where the record is no CloudEvent, and `msgspec.DecodeError`.
    """
    headers = [each for each in record.headers if _is_of_cloudevents(each[0].lower())]
    names = {name.lower() for name, _ in headers}
    value = record.value or b""
    if "ce_id" in names or "ce_specversion" in names:
        if "ce_time" not in names:
            headers.append(("ce_time", iso(record.timestamp).encode()))
        has_key, partition_key = "ce_orderingkey" in names, values.header("ce_partitionkey")
    else:
        attributes = _attributes.decode(value)
        if bytes(attributes.specversion) == b"null":
            raise MalformedEvent("not_an_event", "the record has neither the headers of a CloudEvent nor `specversion`")
        if attributes.time is _ABSENT:
            at = value.index(b"{") + 1
            value = value[:at] + b'"time":"' + iso(record.timestamp).encode() + b'",' + value[at:]
        has_key, partition_key = attributes.orderingkey is not None, attributes.partitionkey
    declared = dict(texts)
    if "ordering_key" not in declared and not has_key:
        declared["ordering_key"] = partition_key or values.key_text()
    for name in _DECLARED:
        text = declared.get(name)
        if text:
            headers.append((name.replace("_", "-"), text.encode()))
    return value, headers


def in_json(headers: Sequence[RecordHeader]) -> list[RecordHeader]:
    """The headers of a record whose value was decoded: the data of a binary CloudEvent are JSON now."""
    return [
        (name, b"application/json" if name.lower() == "content-type" and not _is_structured(text) else text)
        for name, text in headers
    ]


def _is_structured(content_type: bytes) -> bool:
    return (content_type or b"").lower().startswith(b"application/cloudevents")


def _is_of_cloudevents(name: str) -> bool:
    return name.startswith("ce_") or name in ("content-type", "traceparent")
