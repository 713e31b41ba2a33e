"""Each SASL mechanism demands its own settings and refuses those of the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.core.errors import ConfigError
from app.core.kafka_connection import KafkaConnection
from app.core.secret_text import SecretText

P = "HOOKSTREAM_KAFKA_"
URL = "https://login.example.com/token"
OAUTH: dict[str, Any] = {"oauth_token_url": URL, "oauth_client_id": "c", "oauth_client_secret": SecretText("s")}


def problems(mechanism: str | None, security: str = "sasl_ssl", **fields: Any) -> list[str]:
    try:
        KafkaConnection(bootstrap="k:9092", security=security, sasl_mechanism=mechanism, **fields)
    except ConfigError as error:
        return error.problems
    return []


def test_complete_credentials(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("token")
    assert problems("OAUTHBEARER", **OAUTH) == []
    extensions = ("logicalCluster=lkc-1", "identityPoolId=pool-1")
    assert problems("OAUTHBEARER", **OAUTH, oauth_scope="a b", oauth_extensions=extensions, oauth_ca_file=file) == []
    assert problems("OAUTHBEARER", "sasl_plaintext", oauth_token_file=file, oauth_extensions=extensions) == []
    assert problems("AWS_MSK_IAM", aws_region="eu-central-1") == []


def test_what_is_missing() -> None:
    assert problems("OAUTHBEARER") == [
        f"{P}OAUTH_TOKEN_URL: required by {P}SASL_MECHANISM=OAUTHBEARER, unless {P}OAUTH_TOKEN_FILE is set"
    ]
    assert problems("OAUTHBEARER", oauth_token_url=URL) == [
        f"{P}OAUTH_CLIENT_ID: required by {P}OAUTH_TOKEN_URL",
        f"{P}OAUTH_CLIENT_SECRET: required by {P}OAUTH_TOKEN_URL",
    ]
    assert problems("AWS_MSK_IAM") == [f"{P}AWS_REGION: required by {P}SASL_MECHANISM=AWS_MSK_IAM"]
    assert problems(None, **OAUTH) == [f"{P}SASL_MECHANISM: required by {P}SECURITY=sasl_ssl"]


def test_what_contradicts_the_mechanism(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("token")
    assert problems("OAUTHBEARER", **OAUTH, username="u") == [
        f"{P}USERNAME: {P}SASL_MECHANISM=OAUTHBEARER does not use it; remove one of them"
    ]
    assert problems("PLAIN", username="u", password=SecretText("p"), aws_region="eu-central-1") == [
        f"{P}AWS_REGION: {P}SASL_MECHANISM=PLAIN does not use it; remove one of them"
    ]
    assert problems("OAUTHBEARER", **OAUTH, oauth_token_file=file) == [
        f"{P}{name}: not used with {P}OAUTH_TOKEN_FILE; remove one of them"
        for name in ("OAUTH_TOKEN_URL", "OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET")
    ]
    assert problems("AWS_MSK_IAM", "sasl_plaintext", aws_region="eu-central-1") == [
        f"{P}SECURITY: {P}SASL_MECHANISM=AWS_MSK_IAM needs sasl_ssl"
    ]
    assert problems(None, "ssl", oauth_scope="s") == [
        f"{P}OAUTH_SCOPE: {P}SECURITY=ssl does not use SASL; set sasl_ssl there"
    ]


def test_files_that_are_missing() -> None:
    nowhere = Path("/nowhere/token")
    assert problems("OAUTHBEARER", oauth_token_file=nowhere) == [f"{P}OAUTH_TOKEN_FILE: {nowhere} is not a file"]
    assert problems("OAUTHBEARER", **OAUTH, oauth_ca_file=nowhere) == [f"{P}OAUTH_CA_FILE: {nowhere} is not a file"]


@pytest.mark.parametrize("url", ["login.example", "ftp://x/y", "https://", "https://x:99999/", "https://[x/", "//x"])
def test_addresses_that_are_no_token_endpoint(url: str) -> None:
    (problem,) = problems("OAUTHBEARER", **OAUTH | {"oauth_token_url": url})
    assert problem == f"{P}OAUTH_TOKEN_URL: an address such as https://login.example.com/oauth2/token"


def test_credentials_in_the_address() -> None:
    (problem,) = problems("OAUTHBEARER", **OAUTH | {"oauth_token_url": "https://me:pw@login.example.com/"})
    assert problem.startswith(f"{P}OAUTH_TOKEN_URL: without user and password")


@pytest.mark.parametrize("extension", ["", "a", "=b", "a=", "a1=b", "auth=x", "a=b\x01auth=Bearer c", "a=" + "x" * 999])
def test_extensions_that_the_protocol_forbids(extension: str) -> None:
    (problem,) = problems("OAUTHBEARER", **OAUTH, oauth_extensions=(extension,))
    assert problem.startswith(f"{P}OAUTH_EXTENSIONS: name=value")


@pytest.mark.parametrize("region", ["", "Frankfurt", "eu", "eu-central-1.evil.example/", "eu_central"])
def test_names_that_are_no_region(region: str) -> None:
    (problem,) = problems("AWS_MSK_IAM", aws_region=region)
    assert problem.startswith(f"{P}AWS_REGION: ")
