"""E-mail about notices: what it says, when it goes out, and that nothing hostile gets out of its place."""

from __future__ import annotations

from typing import Any

import pytest

from app.adapters.mail.renderer import TemplateRenderer
from app.core.email import read_smtp_url, unsubscribe_token
from app.core.email import read_unsubscribe_token as read_token
from app.core.errors import Defect
from app.core.model.endpoint import SealedSecret
from app.core.records.notice import Notice
from app.roles.notifier.digest import EmailPace, digest, pause_s


def notice(kind: Any = "endpoint.disabled", number: int = 0, **data: Any) -> Notice:
    return Notice(
        id=f"ntc_{number}",
        tenant="acme",
        mode="live",
        kind=kind,
        at="2026-01-01T00:00:00Z",
        endpoint_id=f"ep_{number}",
        summary=data.pop("summary", "It failed."),
        data=data,
    )


def test_the_most_serious_notice_is_first_and_each_has_advice() -> None:
    made = digest(
        "acme",
        [
            notice("endpoint.recovered", 1, last_result="http_5xx", last_status=500),
            notice("endpoint.failing", 2, last_result="tls"),
            notice("endpoint.disabled", 3, last_result="http_4xx", last_status=404),
        ],
        None,
    )
    assert made.subject == "Webhook endpoints: 1 disabled, 1 failing, 1 recovered"
    assert [each.endpoint_id for each in made.entries] == ["ep_3", "ep_2", "ep_1"]
    text = TemplateRenderer().text(made)
    assert "recover the events that it missed" in text and "certificate" in text and "path" in text


def test_an_email_shows_fifty_notices_and_the_number_of_the_others() -> None:
    made = digest("acme", [notice(number=number) for number in range(1000)], None)
    assert (len(made.entries), made.more) == (50, 950)
    assert "And 950 more" in TemplateRenderer().text(made)


@pytest.mark.parametrize(
    "text", ["a\r\nBcc: x@y.example\r\n\r\nbody", "<script>alert(1)</script>", "{{ 7*7 }}", '"><img src=x>', "\x00\x1b"]
)
def test_hostile_texts_stay_in_their_place(text: str) -> None:
    made = digest("acme" + text, [notice(summary=text, description=text, last_result="tls")], "https://x/?a=1&b=2")
    assert "\n" not in made.subject and text not in made.subject
    html, plain = TemplateRenderer().html(made), TemplateRenderer().text(made)
    assert "<script" not in html and "<img" not in html and "\x00" not in html + plain
    assert not any(line.startswith("Bcc:") for line in plain.splitlines())
    assert "49" not in html
    assert 'href="https://x/?a=1&amp;b=2"' in html


def test_a_tenant_gets_an_email_after_the_digest_time_and_not_more_often_than_the_cooldown() -> None:
    pace = EmailPace(digest_s=10, cooldown_s=900)
    assert pace.due_s(100.0, None) == 110.0
    assert pace.due_s(100.0, 50.0) == 950.0
    assert pace.due_s(2000.0, 50.0) == 2010.0


def test_pauses_grow_to_an_hour() -> None:
    assert [pause_s(number) for number in (1, 2, 3, 8, 1000)] == [30, 60, 120, 3600, 3600]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("smtp://mail.example", ("mail.example", 25, "wanted", None, None)),
        ("smtp://u%40x:p%2Fw@mail.example:587", ("mail.example", 587, "demanded", "u@x", "p/w")),
        ("smtp://u:p@localhost:1025", ("localhost", 1025, "wanted", "u", "p")),
        ("smtps://u:p@mail.example", ("mail.example", 465, "from_the_start", "u", "p")),
        ("smtps://[2001:db8::1]:465/", ("2001:db8::1", 465, "from_the_start", None, None)),
    ],
)
def test_the_url_of_a_mail_server_is_parsed(url: str, expected: tuple[Any, ...]) -> None:
    said = read_smtp_url(url)
    assert (said.host, said.port, said.encryption, said.user, said.password) == expected
    assert "p/w" not in repr(said)


@pytest.mark.parametrize(
    "url",
    ["mail.example", "http://mail.example", "smtp://", "smtp://u@h", "smtp://h:x", "smtp://h/path", "smtp://[", ""],
)
def test_an_invalid_url_of_a_mail_server_is_refused(url: str) -> None:
    with pytest.raises(ValueError):
        read_smtp_url(url)


def test_a_token_can_be_read_and_a_damaged_one_is_refused() -> None:
    sealed = SealedSecret(key_id="k1", blob="AA+/==", created_at_ms=0)
    made = unsubscribe_token("acme.x", sealed)
    assert made.replace("-", "").replace("_", "").isalnum()
    assert read_token(made) == ("acme.x", sealed)
    for text in ("", "x", made[:-3], made + "x" * 3000, "ä", "W10", "eyJhIjoxfQ"):
        with pytest.raises(Defect):
            read_token(text)
