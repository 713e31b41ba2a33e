"""Contradictory connection settings are refused, all at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.core.errors import ConfigError
from app.core.kafka_connection import KafkaConnection
from app.core.secret_text import SecretText


def test_a_connection_needs_only_an_address() -> None:
    connection = KafkaConnection(bootstrap="kafka:9092")
    assert not connection.encrypted
    assert not connection.authenticated


def test_a_complete_connection_with_tls_and_scram(tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    authority.write_text("-")
    connection = KafkaConnection(
        bootstrap="kafka:9092",
        security="sasl_ssl",
        ca_file=authority,
        sasl_mechanism="SCRAM-SHA-512",
        username="hookstream",
        password=SecretText("hunter2"),
    )
    assert connection.encrypted
    assert connection.authenticated
    assert "hunter2" not in repr(connection)


def test_all_contradictions_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        KafkaConnection(
            bootstrap="kafka:9092",
            security="sasl_plaintext",
            ca_file=tmp_path / "ca.pem",
            cert_file=tmp_path / "cert.pem",
            username="hookstream",
        )
    no_tls = "HOOKSTREAM_KAFKA_SECURITY=sasl_plaintext does not use TLS; set ssl or sasl_ssl there"
    assert raised.value.problems == [
        f"HOOKSTREAM_KAFKA_CA_FILE: {no_tls}",
        f"HOOKSTREAM_KAFKA_CERT_FILE: {no_tls}",
        "HOOKSTREAM_KAFKA_CERT_FILE: goes together with HOOKSTREAM_KAFKA_KEY_FILE",
        "HOOKSTREAM_KAFKA_SASL_MECHANISM: required by HOOKSTREAM_KAFKA_SECURITY=sasl_plaintext",
        "HOOKSTREAM_KAFKA_PASSWORD: required by HOOKSTREAM_KAFKA_SECURITY=sasl_plaintext",
    ]


def test_missing_files_and_unused_credentials() -> None:
    with pytest.raises(ConfigError) as raised:
        KafkaConnection(bootstrap="kafka:9092", security="ssl", ca_file=Path("/nowhere/ca.pem"), username="hookstream")
    assert raised.value.problems == [
        "HOOKSTREAM_KAFKA_CA_FILE: /nowhere/ca.pem is not a file",
        "HOOKSTREAM_KAFKA_USERNAME: HOOKSTREAM_KAFKA_SECURITY=ssl does not use SASL; set sasl_ssl there",
    ]


@pytest.mark.parametrize("field", ["security", "sasl_mechanism"])
def test_unknown_names(field: str) -> None:
    fields = {"security": "sasl_ssl", "sasl_mechanism": "PLAIN", "username": "u", "password": SecretText("p")}
    with pytest.raises(ConfigError, match="is not one of"):
        KafkaConnection(bootstrap="kafka:9092", **(fields | {field: "odd"}))  # type: ignore[arg-type]
