"""The token of Amazon's signer reaches Kafka's connections; signing needs no network."""

from __future__ import annotations

import base64
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from app.adapters.clock import SystemClock
from app.adapters.kafka import msk_token
from app.adapters.kafka.credentials import KafkaCredentials
from app.adapters.kafka.msk_token import MskToken
from app.adapters.kafka.tokens import TokenUnavailable
from app.core.errors import ConfigError
from app.core.kafka_connection import KafkaConnection


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Only the credentials of this test are there."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_PROFILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_WEB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret example")


def signed(token: str) -> dict[str, list[str]]:
    url = urlsplit(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode())
    assert url.netloc == "kafka.eu-central-1.amazonaws.com"
    return parse_qs(url.query)


async def test_the_token_of_the_signer_is_the_one_of_connections() -> None:
    connection = KafkaConnection(
        bootstrap="b-1.example:9098", security="sasl_ssl", sasl_mechanism="AWS_MSK_IAM", aws_region="eu-central-1"
    )
    options = KafkaCredentials(connection, SystemClock()).aiokafka()
    assert options["sasl_mechanism"] == "OAUTHBEARER"
    source = options["sasl_oauth_token_provider"]
    token = await source.token()
    query = signed(token)
    assert query["Action"] == ["kafka-cluster:Connect"]
    assert query["X-Amz-Credential"][0].startswith("AKIDEXAMPLE/")
    assert query["X-Amz-Expires"] == ["900"]
    assert await source.token() is token
    assert source.mechanism == "AWS_MSK_IAM"


async def test_a_token_lives_for_fifteen_minutes() -> None:
    now_s = SystemClock().now_ms() / 1000
    token = await MskToken("eu-central-1").obtain()
    assert token.expires_s - now_s > 0


async def test_a_process_without_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(TokenUnavailable, match=r"because .*no AWS credentials \(.*AWS_ACCESS_KEY_ID"):
        await MskToken("eu-central-1").obtain()


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(msk_token, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r'AWS_MSK_IAM needs .*: pip install "hookstream\[msk\]"'):
        MskToken("eu-central-1")
