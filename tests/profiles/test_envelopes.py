"""Envelopes, read by a receiver's libraries: the CloudEvents SDK, and Standard Webhooks for the signature."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from cloudevents.core.bindings import kafka
from cloudevents.core.bindings.http import HTTPMessage, from_http
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from cloudevents.v1.http import from_http as from_http_v1
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from app.core.errors import TransformFailed, Unrepresentable
from app.core.model.delivery import Delivery
from app.core.model.endpoint import Endpoint, SealedSecret
from app.core.model.http_exchange import HttpRequest
from app.core.records import delivery as delivery_record
from app.core.records.delivery import event_headers, with_delivery
from app.core.records.raw_event import Coordinates, decode_event
from app.profiles.catalog import PROFILES
from app.profiles.requests import RequestBuilder

SECRET = "whsec_" + b64encode(bytes(24)).decode()
#: numbers and texts that a decoder and an encoder would change
DATA = b'{"n": 1.10, "big": 12345678901234567890123, "text": "\\u00e9\\/", "a": [ 1,2 ], "n": 2e1}'
NATIVE = b'{"type": "order.paid", "data": ' + DATA + b' , "metadata": {"region": "eu"}}'
CREATED = "2026-01-31T08:00:00.000Z"
CLOUD_ENVELOPES = ["cloudevents-structured", "cloudevents-binary"]


def delivery(body: bytes = NATIVE, **fields: Any) -> Delivery:
    made = Delivery(
        id="dlv_1",
        endpoint_id="ep_1",
        event_id="evt_1",
        event_type="order.paid",
        tenant="acme",
        mode="live",
        created_at=CREATED,
        body=body,
        source="3:17",
    )
    return msgspec.structs.replace(made, **fields)


def cloud(**members: Any) -> Delivery:
    """A delivery of a structured CloudEvent."""
    event = {"specversion": "1.0", "id": "evt_1", "source": "/orders", "type": "order.paid", "time": CREATED, **members}
    return delivery(json.dumps(event).encode(), format="ce-structured")


def request(sent: Delivery, **settings: Any) -> HttpRequest:
    """The request of an endpoint with these settings."""
    made = Endpoint(
        id="ep_1",
        tenant="acme",
        mode="live",
        url="https://a.example/",
        events=("*",),
        profile="standard",
        secrets=(SealedSecret(key_id="k", blob="", created_at_ms=0),),
    )
    endpoint = msgspec.structs.replace(made, **settings)
    builder = RequestBuilder(lambda sealed, owner: SECRET, 1.0, lambda sealed, owner: lambda message: b"")
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    return builder.request(sent, endpoint, builder.prepared(endpoint, now_ms), now_ms)


def headers(sent: HttpRequest) -> dict[str, str]:
    assert len({name for name, _ in sent.headers}) == len(sent.headers), "each header once"
    return dict(sent.headers)


def understood(sent: HttpRequest) -> tuple[dict[str, Any], Any]:
    """Attributes and data as the SDK reads them from what a server passes to it; both of its versions agree."""
    received = {name.lower(): value for name, value in sent.headers}
    event = from_http(HTTPMessage(received, sent.body), JSONFormat())
    earlier = from_http_v1(received, sent.body)
    attributes = dict(event.get_attributes())
    assert set(earlier.get_attributes()) - {"datacontenttype"} == set(attributes) - {"datacontenttype"}
    assert earlier.get_data() == event.get_data()
    return attributes, event.get_data()


@pytest.mark.parametrize("envelope", ["profile", "raw", "thin", *CLOUD_ENVELOPES])
@pytest.mark.parametrize("further", [{}, {"transform": "{total: data.n}"}, {"include_fields": ("n",)}])
def test_the_signature_covers_the_body_that_is_sent(envelope: str, further: dict[str, Any]) -> None:
    sent = request(delivery(), envelope=envelope, **further)
    Webhook(SECRET).verify(sent.body, headers(sent))


def test_raw_is_the_slice_of_the_original_bytes() -> None:
    sent = request(delivery(), envelope="raw")
    assert sent.body == DATA
    named = headers(sent)
    assert (named["webhook-event-type"], named["webhook-event-time"]) == ("order.paid", CREATED)
    assert (named["content-type"], named["webhook-id"]) == ("application/json", "evt_1")


@pytest.mark.parametrize("profile", PROFILES)
def test_raw_data_is_the_same_in_every_profile(profile: str) -> None:
    assert request(delivery(), envelope="raw", profile=profile).body == DATA


def test_thin_has_no_data_but_the_path_of_the_event() -> None:
    sent = request(delivery(event_id="a/b?c%"), envelope="thin")
    assert json.loads(sent.body) == {
        "id": "a/b?c%",
        "type": "order.paid",
        "timestamp": CREATED,
        "url": "/v1/events/a%2Fb%3Fc%25?partition=3&offset=17",
    }
    assert json.loads(request(delivery(source=None), envelope="thin").body)["url"] == "/v1/events/evt_1"


@pytest.mark.parametrize("envelope", CLOUD_ENVELOPES)
def test_an_event_in_native_json_is_a_cloud_event(envelope: str) -> None:
    sent = request(delivery(), envelope=envelope)
    attributes, data = understood(sent)
    assert attributes.pop("datacontenttype") == "application/json"
    assert attributes == {
        "specversion": "1.0",
        "id": "evt_1",
        "source": "/hookstream/acme/live",
        "type": "order.paid",
        "time": datetime(2026, 1, 31, 8, tzinfo=UTC),
    }
    assert data == json.loads(DATA)
    assert DATA in sent.body, "byte for byte"
    wanted = "application/cloudevents+json; charset=UTF-8" if envelope == CLOUD_ENVELOPES[0] else "application/json"
    assert headers(sent)["content-type"] == wanted


@pytest.mark.parametrize("envelope", CLOUD_ENVELOPES)
@pytest.mark.parametrize(
    ("created_at", "moment"),
    [
        ("2026-01-31 08:00Z", datetime(2026, 1, 31, 8, tzinfo=UTC)),
        ("2026-01-31T08:00:00+0200", datetime(2026, 1, 31, 6, tzinfo=UTC)),
        ("2026-01-31T08:00:00.123456+02:00", datetime(2026, 1, 31, 6, 0, 0, 123456, tzinfo=UTC)),
        ("2026-01-31T08:00:00.1234567890123456Z", datetime(2026, 1, 31, 8, 0, 0, 123000, tzinfo=UTC)),
    ],
)
def test_times_are_those_of_rfc_3339(envelope: str, created_at: str, moment: datetime) -> None:
    attributes, _ = understood(request(delivery(created_at=created_at), envelope=envelope))
    assert attributes["time"] == moment


@pytest.mark.parametrize("envelope", CLOUD_ENVELOPES)
def test_a_cloud_event_keeps_its_attributes_but_those_that_steer(envelope: str) -> None:
    event = cloud(
        subject='gr\u00fc\u00dfe, 100 % "x"',
        dataschema="https://a.example/s",
        datacontenttype="application/vnd.a+json",
        flag=True,
        number=-7,
        traceparent="00-0-0-00",
        empty=None,
        nested={"a": 1},
        Upper="x",
        tenant="acme",
        mode="live",
        idempotencykey="secret",
        orderingkey="k",
        channels="eu",
        data={"n": [1]},
    )
    attributes, data = understood(request(event, envelope=envelope))
    texts = {name: str(value).lower() if isinstance(value, bool | int) else value for name, value in attributes.items()}
    texts.pop("time")
    assert texts == {
        "specversion": "1.0",
        "id": "evt_1",
        "source": "/orders",
        "type": "order.paid",
        "subject": 'gr\u00fc\u00dfe, 100 % "x"',
        "dataschema": "https://a.example/s",
        "datacontenttype": "application/vnd.a+json",
        "flag": "true",
        "number": "-7",
        "traceparent": "00-0-0-00",
    }
    assert data == {"n": [1]}


@given(subject=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=50))
def test_header_values_are_percent_encoded_as_the_binding_says(subject: str) -> None:
    sent = request(cloud(subject=subject, data=1), envelope="cloudevents-binary")
    value = headers(sent)["ce-subject"]
    assert all("!" <= character <= "~" and character != '"' for character in value)
    assert understood(sent)[0]["subject"] == subject


@pytest.mark.parametrize("envelope", CLOUD_ENVELOPES)
def test_data_that_came_in_base64_is_json(envelope: str) -> None:
    encoded = b64encode(DATA).decode()
    sent = request(cloud(data_base64=encoded, datacontenttype="application/x+json"), envelope=envelope)
    assert DATA in sent.body and understood(sent)[1] == json.loads(DATA)


def test_a_cloud_event_without_data_has_none() -> None:
    assert "data" not in json.loads(request(cloud(), envelope="cloudevents-structured").body)
    assert request(cloud(), envelope="cloudevents-binary").body == b"null"


@pytest.mark.parametrize(
    ("declared", "sent_as"),
    [
        ("application/json", "application/json"),
        ("application/json; charset=utf-8", "application/json; charset=utf-8"),
        ("text/plain", "application/json"),
        ("application/json\r\nx-evil: 1", "application/json"),
    ],
)
def test_only_types_of_json_are_a_content_type(declared: str, sent_as: str) -> None:
    sent = request(cloud(data="a", datacontenttype=declared), envelope="cloudevents-binary")
    assert (headers(sent)["content-type"], sent.body) == (sent_as, b'"a"')


def test_attributes_that_do_not_fit_into_headers_are_refused() -> None:
    hostile = [cloud(subject="%" * 3000), cloud(**{f"x{number}": "y" for number in range(1500)})]
    for event in hostile:
        with pytest.raises(Unrepresentable, match="more than 6144 characters in headers"):
            request(event, envelope="cloudevents-binary")
        request(event, envelope="cloudevents-structured")


# --- data --------------------------------------------------------------------------------------------------------


def test_a_transform_sees_the_event_and_its_result_is_the_data_of_the_envelope() -> None:
    transform = "{n: data.n, id: id, type: type, at: created_at, region: metadata.region, key: ordering_key}"
    sent = request(delivery(ordering_key="k", created_at="2026-01-31T10:00:00+02:00"), transform=transform)
    assert json.loads(sent.body) == {
        "id": "evt_1",
        "type": "order.paid",
        "timestamp": "2026-01-31T10:00:00+02:00",
        "data": {"n": 20.0, "id": "evt_1", "type": "order.paid", "at": CREATED, "region": "eu", "key": "k"},
    }


@pytest.mark.parametrize("event", [delivery(), cloud(data={"n": 20.0}, datacontenttype="application/vnd.a+json")])
def test_a_transform_makes_the_data_of_cloud_events(event: Delivery) -> None:
    for envelope in CLOUD_ENVELOPES:
        attributes, data = understood(request(event, envelope=envelope, transform="{text: type, n: data.n}"))
        assert data == {"text": "order.paid", "n": 20.0}
        assert attributes["datacontenttype"] == "application/json", "the type was that of the event's own data"


def test_a_transform_with_raw_is_the_whole_body() -> None:
    sent = request(delivery(), envelope="raw", transform="{text: join(' ', ['paid', id])}")
    assert sent.body == b'{"text":"paid evt_1"}'


def test_a_transform_sees_included_fields_only() -> None:
    settings = {"include_fields": ("n",), "transform": "{all: data, region: metadata.region}"}
    assert request(delivery(), envelope="raw", **settings).body == b'{"all":{"n":20.0},"region":"eu"}'


def test_included_fields_keep_their_bytes() -> None:
    assert request(delivery(), envelope="raw", include_fields=("a", "big")).body == (
        b'{"big":12345678901234567890123,"a":[ 1,2 ]}'
    )


def test_numbers_out_of_range_have_no_result() -> None:
    with pytest.raises(TransformFailed):
        request(delivery(b'{"type":"a.b","data":1e999}'), transform="data")


def test_without_a_shape_nothing_is_prepared() -> None:
    builder = RequestBuilder(lambda sealed, owner: SECRET, 1.0, lambda sealed, owner: lambda message: b"")
    endpoint = Endpoint(
        id="e",
        tenant="t",
        mode="live",
        url="https://a.example",
        events=("*",),
        profile="standard",
        secrets=(SealedSecret(key_id="k", blob="", created_at_ms=0),),
    )
    assert builder.prepared(endpoint, 0).shape is None


# --- CloudEvents from end to end ------------------------------------------------------------------------------------


def passed_on(event: CloudEvent, way: Callable[[CloudEvent], Any]) -> Delivery:
    """The delivery of an event that the SDK writes to Kafka."""
    message = way(event)
    at = Coordinates("events.raw", 3, 17, 0)
    read = decode_event(message.value, list(message.headers.items()), at, max_bytes=100_000)
    record = with_delivery(event_headers(read, 0, None, "", 0, (3, 17)), "dlv_1")
    return delivery_record.decode(b"ep_1", read.body, record)[0]


MADE = {
    "id": "A-1",
    "source": "https://a.example/things",
    "type": "thing.made",
    "time": datetime(2026, 1, 2, 3, 4, 5, 600_000, tzinfo=UTC),
    "datacontenttype": "application/json",
    "subject": "gr\u00fc\u00dfe 100%",
    "region": "eu",
}
WAYS = {"structured": kafka.to_structured_event, "binary": kafka.to_binary_event}


@pytest.mark.parametrize("envelope", CLOUD_ENVELOPES)
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_what_a_producers_sdk_writes_is_what_a_receivers_sdk_reads(
    envelope: str, way: Callable[[CloudEvent], Any]
) -> None:
    event = CloudEvent(MADE | {"tenant": "acme", "orderingkey": "k"}, {"n": 1})
    attributes, data = understood(request(passed_on(event, way), envelope=envelope))
    assert (attributes | {"specversion": "1.0"}, data) == (MADE | {"specversion": "1.0"}, {"n": 1})


@pytest.mark.parametrize(
    ("more", "source"),
    [
        ({"subject": "x" * 5000}, MADE["source"]),
        ({"source": "/" + "x" * 5000}, "/hookstream/acme/live"),
    ],
)
def test_too_many_attributes_of_a_binary_event_leave_its_source_if_it_fits(more: dict[str, str], source: str) -> None:
    event = CloudEvent(MADE | {"tenant": "acme", "idempotencykey": "k"} | more, {"n": 1})
    sent = passed_on(event, kafka.to_binary_event)
    attributes, _ = understood(request(sent, envelope="cloudevents-binary"))
    assert attributes["source"] == source and "subject" not in attributes
