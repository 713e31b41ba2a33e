"""`hookstream listen`: its requests are those of deliveries, and its options are checked before it connects."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from app.adapters.clock import SystemClock
from app.api.contract.events import StreamedEvent
from app.cli.commands import listen
from app.cli.main import program
from app.core.exit_codes import ExitCode
from app.embedded.receiver.verify import CHECKS
from app.profiles.catalog import PROFILES
from tests.ports import free_port

EVENT = StreamedEvent(
    id="evt_1",
    type="user.created",
    created_at="2026-01-01T00:00:00Z",
    appended_at="2026-01-01T00:00:00Z",
    ordering_key="k ö",
    traceparent="00-" + "a" * 32 + "-" + "b" * 16 + "-01",
    partition=0,
    offset=1,
    data=msgspec.Raw(b'{"n": 1.50}'),
)
SECRET = "whsec_" + "c2VjcmV0" * 4


def ends(*words: str) -> tuple[int, str]:
    """Exit code and standard error."""
    done = CliRunner().invoke(program(["listen"]), ["listen", *words])
    return done.exit_code, done.stderr


@pytest.mark.parametrize("profile", PROFILES)
def test_a_request_verifies_as_one_of_its_profile(profile: str) -> None:
    signer = listen._Signer(listen._endpoint("http://localhost:3000/x?y", profile, "v1", {"X-Shop": "dev"}), SECRET)
    signer.ready("acme", "live")
    request = signer.request(EVENT, 3)
    headers = {name.lower(): value for name, value in request.headers}
    now_s = SystemClock().now_ms() / 1000
    assert CHECKS[profile](SECRET, headers, request.body, now_s) is None
    assert request.url == "http://localhost:3000/x?y" and b"1.5" in request.body
    expected = {"webhook-id": "evt_1", "webhook-attempt": "3", "x-shop": "dev", "traceparent": EVENT.traceparent}
    assert {name: headers[name] for name in expected} == expected
    assert headers["webhook-ordering-key"] == "k%20%C3%B6"


@pytest.mark.parametrize("profile", ["standard", "recall"])
@pytest.mark.parametrize("scheme", ["v1a", "both"])
def test_v1a_verifies_with_the_public_key_of_the_secret(profile: str, scheme: str) -> None:
    endpoint = listen._endpoint("http://localhost:3000/", profile, scheme, {})
    signer, again = (listen._Signer(endpoint, SECRET) for _ in range(2))
    for each in (signer, again):
        each.ready("acme", "live")
    assert signer.public_key == again.public_key and signer.public_key.startswith("whpk_")
    request = signer.request(EVENT, 1)
    headers, now_s = {name.lower(): value for name, value in request.headers}, SystemClock().now_ms() / 1000
    assert CHECKS[profile](signer.public_key, headers, request.body, now_s) is None
    assert CHECKS[profile](signer.public_key, headers, request.body + b" ", now_s) is not None
    assert (CHECKS[profile](SECRET, headers, request.body, now_s) is None) is (scheme == "both")
    assert CHECKS[profile]("whpk_AAAA", headers, request.body, now_s) is not None


@pytest.mark.parametrize(
    ("words", "option"),
    [
        ((), "--forward-to"),
        (("--forward-to", "localhost:3000"), "--forward-to"),
        (("--forward-to", "http://localhost:3000", "--signature-scheme", "v2"), "--signature-scheme"),
        (
            ("--forward-to", "http://localhost:3000", "--profile", "bota", "--signature-scheme", "v1a"),
            "Standard Webhooks",
        ),
        (("--forward-to", "ftp://localhost"), "--forward-to"),
        (("--forward-to", "http://localhost:99999"), "--forward-to"),
        (("--forward-to", "http://localhost", "--profile", "nobody"), "--profile"),
        (("--forward-to", "http://localhost", "--header", "X"), "header"),
        (("--forward-to", "http://localhost", "--header", "Webhook-Id: x"), "--header"),
    ],
)
def test_options_are_checked_before_anything_is_asked(words: tuple[str, ...], option: str) -> None:
    code, error = ends(*words, "--url", "http://127.0.0.1:1", "--key", "sk_live_1")
    assert code == ExitCode.USAGE and option in error


def test_without_an_api_it_ends_at_once(tmp_path: Path) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    code, error = ends("--forward-to", "http://localhost", "--url", address, "--key", "sk_live_1")
    assert code == ExitCode.UNAVAILABLE and "Nothing answers" in error
