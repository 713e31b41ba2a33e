"""aiokafka's clients and Faust's consumers log in with the same credentials."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

from app.adapters.clock import SystemClock
from app.adapters.kafka.credentials import KafkaCredentials
from app.adapters.kafka.tls_files import TlsFiles
from app.core.kafka_connection import KafkaConnection
from app.core.secret_text import SecretText

USER: dict[str, Any] = {"username": "hookstream", "password": SecretText("hunter2")}
CLIENT: dict[str, Any] = {"oauth_client_id": "c", "oauth_client_secret": SecretText("hunter2")}


@pytest.mark.parametrize(
    "fields",
    [
        {"sasl_mechanism": "PLAIN", **USER},
        {"sasl_mechanism": "SCRAM-SHA-512", **USER},
        {"sasl_mechanism": "OAUTHBEARER", "oauth_token_url": "https://login.example/token", **CLIENT},
        {"sasl_mechanism": "OAUTHBEARER", "oauth_token_file": Path(__file__), "oauth_extensions": ("a=b", "c=d=e")},
        {"sasl_mechanism": "AWS_MSK_IAM", "aws_region": "eu-central-1"},
    ],
)
def test_faust_logs_in_as_the_other_clients_do(fields: dict[str, Any]) -> None:
    connection = KafkaConnection(bootstrap="k:9092", security="sasl_ssl", **fields)
    tls = TlsFiles(connection)
    credentials = KafkaCredentials(connection, SystemClock())
    options = dict(credentials_to_aiokafka_auth(credentials.faust(tls)))
    assert options.pop("security_protocol") == "SASL_SSL"
    assert options.pop("ssl_context") is tls
    assert options == credentials.aiokafka()
    assert "hunter2" not in repr(options)


def test_extensions_are_those_of_the_settings() -> None:
    fields: dict[str, Any] = {"oauth_token_file": Path(__file__), "oauth_extensions": ("a=b", "c=d=e")}
    connection = KafkaConnection(bootstrap="k:9092", security="sasl_ssl", sasl_mechanism="OAUTHBEARER", **fields)
    source = KafkaCredentials(connection, SystemClock()).aiokafka()["sasl_oauth_token_provider"]
    assert source.extensions() == {"a": "b", "c": "d=e"}
