"""Settings: nothing is configured by accident, everything wrong is said at once, and secrets stay secret."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from app.core.errors import ConfigError
from app.core.secret_text import SecretText
from app.settings import PREFIX, UP_DEFAULTS, Settings, load, variables

TOKEN = "op_0123456789abcdef0123"


def settings(**texts: str) -> Settings:
    return load({PREFIX + name: text for name, text in texts.items()})


def problems(**texts: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        settings(**texts)
    return caught.value.problems


def test_without_an_environment_the_defaults_count() -> None:
    assert load({}) == Settings()
    assert load({"PATH": "/bin", "HOOKSTREAMER": "x", "hookstream_partitions": "5"}) == Settings()


def test_an_empty_value_is_a_value(tmp_path: Path) -> None:
    """Of a list the empty one, of what may be unset nothing, of a text that is empty by itself that, else an error."""
    nothing = tmp_path / "nothing"
    nothing.write_text("\n", encoding="utf-8")
    other = {  # what stands behind an empty value is not what the defaults of a command say
        "EGRESS_ALLOW": "10.0.0.0/8",
        "EGRESS_PORTS": "443",
        "PORTAL_ORIGINS": "https://a.example",
        "TOPIC_PREFIX": "a.",
        "PUBLIC_URL": "https://a.example",
        "ADMIN_TOKEN": TOKEN,
        "DATABASE_URL": "sqlite:///x",
        "CA_FILE": str(nothing),
    }
    for field in structs.fields(Settings):
        name = field.name.upper()
        for environ in ({PREFIX + name: ""}, {f"{PREFIX}{name}_FILE": str(nothing)}):
            if field.default in (None, (), ""):
                assert (
                    getattr(load(environ, {k: v for k, v in other.items() if k == name}), field.name) == field.default
                )
            else:
                with pytest.raises(ConfigError) as caught:
                    load(environ)
                assert caught.value.problems == [f"{PREFIX}{name}: it is empty: set a value, or remove the variable"]


def test_an_empty_list_takes_back_what_up_allows() -> None:
    assert load({}, UP_DEFAULTS).egress_allow == ("127.0.0.0/8", "::1/128")
    assert load({f"{PREFIX}EGRESS_ALLOW": ""}, UP_DEFAULTS).egress_allow == ()


@pytest.mark.parametrize(
    "token", ["short", "a" * 40, "abcabcabcabcabcabcabcabc", "0123456789 0123456789", "ü" * 30, TOKEN[:19]]
)
def test_a_token_that_can_be_guessed_is_refused(token: str) -> None:
    (problem,) = problems(ADMIN_TOKEN=token)
    assert problem.startswith(f"{PREFIX}ADMIN_TOKEN: at least 20 characters") and token not in problem


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("BOOTSTRAP_SERVERS", "a:9092,b:9092", "a:9092,b:9092"),
        ("DATA_DIR", "/srv/x", Path("/srv/x")),
        ("KAFKA_PORT", "65535", 65535),
        ("PARTITIONS", "1", 1),
        ("IDEMPOTENCY_TTL_HOURS", "0.5", 0.5),
        ("TIME_SCALE", "0.001", 0.001),
        ("MAX_EVENT_BYTES", "1024", 1024),
        ("EGRESS_ALLOW", "127.0.0.0/8, ::1/128,", ("127.0.0.0/8", "::1/128")),
        ("TOPIC_PREFIX", "acme-1_x.", "acme-1_x."),
        ("ADMIN_TOKEN", TOKEN, SecretText(TOKEN)),
        *(("ALLOW_HTTP", text, True) for text in ("1", "true", "TRUE", "yes", "on")),
        *(("ALLOW_HTTP", text, False) for text in ("0", "false", "No", "off")),
    ],
)
def test_a_text_becomes_its_value(name: str, text: str, value: Any) -> None:
    assert getattr(settings(**{name: text}), name.lower()) == value


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("PARTITIONS", "many", "'many' is not a number"),
        ("PARTITIONS", "1.5", "'1.5' is not a number"),
        ("PARTITIONS", "0", "1 to 1000"),
        ("PARTITIONS", "1001", "1 to 1000"),
        ("REPLICATION_FACTOR", "0", "1 to 10"),
        ("KAFKA_PORT", "-1", "a port is 0 to 65535"),
        ("API_PORT", "65536", "a port is 0 to 65535"),
        ("METRICS_PORT", "65536", "a port is 0 to 65535"),
        ("MAX_EVENT_BYTES", "1023", "1024 to 8388608"),
        ("MAX_EVENT_BYTES", "8388609", "1024 to 8388608"),
        ("TIME_SCALE", "0", "greater than 0"),
        ("TIME_SCALE", "nan", "greater than 0"),
        ("IDEMPOTENCY_TTL_HOURS", "-1", "greater than 0"),
        ("ALLOW_HTTP", "maybe", "'maybe': true or false"),
        ("ALLOW_HTTP", "2", "'2': true or false"),
        ("TABLE_STORE", "disk", "rocksdb or memory"),
        ("LOG_FORMAT", "xml", "json or console"),
        ("LOG_LEVEL", "loud", "debug, info, warning or error"),
        ("CA_FILE", "/nowhere/ca.pem", "/nowhere/ca.pem is not a file"),
        ("TOPIC_PREFIX", "a b", "letters, digits"),
        ("EGRESS_ALLOW", "10.0.0.0/8,localhost", "'localhost'"),
        ("EGRESS_ALLOW", "10.0.0.1/8", "host bits"),
        ("EGRESS_IPS", "192.0.2.1,<script>", "'<script>'"),
        ("EGRESS_IPS", ",".join(["192.0.2.1"] * 65), "at most 64"),
        ("MAX_IN_FLIGHT", "0", "at least 1"),
        ("WATCHDOG_LOOP_SECONDS", "0.5", "0, or 1 to 86400"),
        ("WATCHDOG_RECOVERY_SECONDS", "nan", "0, or 1 to 86400"),
        ("WATCHDOG_SUSPECT_SECONDS", "-1", "0, or 1 to 86400"),
        ("WATCHDOG_STUCK_SECONDS", "86401", "0, or 1 to 86400"),
    ],
)
def test_a_bad_value_is_refused_with_its_name_and_a_sentence(name: str, text: str, sentence: str) -> None:
    said = problems(**{name: text})
    assert any(problem.startswith(f"{PREFIX}{name}: ") and sentence in problem for problem in said)


@pytest.mark.parametrize(
    ("texts", "name"),
    [
        ({"MAX_IN_FLIGHT": "10"}, "MAX_IN_FLIGHT_PER_ENDPOINT"),
        ({"MAX_IN_FLIGHT": "10", "MAX_IN_FLIGHT_PER_ENDPOINT": "11"}, "MAX_IN_FLIGHT_PER_ENDPOINT"),
        ({"MAX_IN_FLIGHT_PER_ENDPOINT": "0"}, "MAX_IN_FLIGHT_PER_ENDPOINT"),
        ({"DATABASE_URL": "mysql://x/y"}, "DATABASE_URL"),
        ({"SMTP_URL": "smtp://x"}, "SMTP_URL"),
        ({"WATCHDOG_STUCK_SECONDS": "30"}, "WATCHDOG_STUCK_SECONDS"),
        ({"WATCHDOG_SUSPECT_SECONDS": "0"}, "WATCHDOG_STUCK_SECONDS"),
        ({"MAIL_FROM": "a@b.example"}, "SMTP_URL"),
        ({"MAIL_FROM": "a@b.example", "SMTP_URL": "mail.example"}, "SMTP_URL"),
        ({"MAIL_FROM": "nobody", "SMTP_URL": "smtp://x"}, "MAIL_FROM"),
        ({"NOTIFY_COOLDOWN_SECONDS": "-1"}, "NOTIFY_COOLDOWN_SECONDS"),
        ({"KAFKA_SECURITY": "tls"}, "KAFKA_SECURITY"),
        ({"KAFKA_SECURITY": "ssl"}, "KAFKA_SECURITY"),
        ({"KAFKA_USERNAME": "u"}, "KAFKA_USERNAME"),
        ({"KAFKA_CA_FILE": "/dev/null"}, "KAFKA_CA_FILE"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(texts: dict[str, str], name: str) -> None:
    (problem,) = problems(**texts)
    assert problem.startswith(f"{PREFIX}{name}: ")


def test_settings_that_go_together_are_accepted() -> None:
    assert settings(WATCHDOG_SUSPECT_SECONDS="0", WATCHDOG_STUCK_SECONDS="0").watchdog_suspect_seconds == 0
    assert settings(SMTP_URL="smtp://x", MAIL_FROM="a@b.example").mail_from == "a@b.example"
    assert settings(MAX_IN_FLIGHT="10", MAX_IN_FLIGHT_PER_ENDPOINT="10").max_in_flight == 10


def test_kafka_settings_that_contradict_each_other_are_named_in_pairs() -> None:
    assert problems(BOOTSTRAP_SERVERS="k:9092", KAFKA_SECURITY="sasl_ssl", KAFKA_USERNAME="u", KAFKA_PASSWORD="p") == [
        "HOOKSTREAM_KAFKA_SASL_MECHANISM: required by HOOKSTREAM_KAFKA_SECURITY=sasl_ssl"
    ]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("PARTITION", "; did you mean HOOKSTREAM_PARTITIONS?"),
        ("ADMIN_TOKN_FILE", "; did you mean HOOKSTREAM_ADMIN_TOKEN?"),
        ("partitions", ""),
        ("QQQ", ""),
        ("", ""),
    ],
)
def test_an_unknown_variable_is_refused_with_the_nearest_name(name: str, hint: str) -> None:
    assert problems(**{name: "1"}) == [f"{PREFIX}{name} is not a setting{hint}"]


def test_the_variables_of_the_tests_are_no_settings() -> None:
    assert settings(TEST_BOOTSTRAP_SERVERS="x") == Settings()


def test_everything_wrong_is_said_at_once() -> None:
    said = problems(
        PARTITION="1",
        PARTITIONS="many",
        ALLOW_HTTP="maybe",
        API_PORT="99999",
        LOG_LEVEL="loud",
        ADMIN_TOKEN_FILE="/nowhere",
        SMTP_URL="smtp://x",
        EGRESS_ALLOW="a,b",
    )
    assert len(said) == len(set(said)) == 9
    with pytest.raises(ConfigError, match=r"PARTITION is not a setting(.|\n)*SMTP_URL"):
        settings(PARTITION="1", SMTP_URL="smtp://x")


def test_a_file_holds_the_value(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n", encoding="utf-8")
    assert settings(ADMIN_TOKEN_FILE=str(file)).admin_token == SecretText(TOKEN)
    ca = tmp_path / "path"
    ca.write_text(f"{file}\n", encoding="utf-8")
    assert settings(CA_FILE=str(file)).ca_file == settings(CA_FILE_FILE=str(ca)).ca_file == file


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        (problem,) = problems(ADMIN_TOKEN_FILE=str(path))
        assert problem.startswith(f"{PREFIX}ADMIN_TOKEN_FILE: {path} cannot be read")


def test_a_value_and_its_file_are_one_too_many(tmp_path: Path) -> None:
    file = tmp_path / "partitions"
    file.write_text("5", encoding="utf-8")
    assert problems(PARTITIONS="5", PARTITIONS_FILE=str(file)) == [
        "HOOKSTREAM_PARTITIONS and HOOKSTREAM_PARTITIONS_FILE are both set: keep one"
    ]


def test_defaults_of_a_command_stand_behind_the_environment() -> None:
    assert load({}, {"PARTITIONS": "3", "ALLOW_HTTP": "true"}).partitions == 3
    assert load({f"{PREFIX}PARTITIONS": "4"}, {"PARTITIONS": "3"}).partitions == 4


def test_up_has_one_replica_on_its_own_broker_and_three_on_yours(tmp_path: Path) -> None:
    file = tmp_path / "servers"
    file.write_text("kafka:9092", encoding="utf-8")
    assert load({}, UP_DEFAULTS).replication_factor == 1
    for yours in ({"BOOTSTRAP_SERVERS": "kafka:9092"}, {"BOOTSTRAP_SERVERS_FILE": str(file)}):
        given_ = {PREFIX + name: text for name, text in yours.items()}
        assert load(given_, UP_DEFAULTS).replication_factor == 3
        assert load(given_ | {f"{PREFIX}REPLICATION_FACTOR": "2"}, UP_DEFAULTS).replication_factor == 2


SECRETS = ("ADMIN_TOKEN", "SECRET_KEYS", "DATABASE_URL", "SMTP_URL")


@pytest.mark.parametrize("name", SECRETS)
def test_no_secret_shows_itself(name: str) -> None:
    urls = {"SMTP_URL": "smtp://me:hunter2@x", "DATABASE_URL": "postgresql://me:hunter2@x/y"}
    text = urls.get(name, TOKEN)
    loaded = settings(**{"MAIL_FROM": "a@b.example", "SMTP_URL": "smtp://x", name: text})
    secret = getattr(loaded, name.lower())
    assert secret.reveal() == text
    for shown in (repr(loaded), str(loaded), repr(secret), str(secret), f"{secret}", f"{[secret]}", f"{secret!r:>40}"):
        assert "hunter2" not in shown and TOKEN not in shown
        assert "***" in shown


@pytest.mark.parametrize("name", SECRETS)
def test_no_problem_quotes_a_secret(name: str, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("hunter2", encoding="utf-8")
    said = problems(**{name: "hunter2", f"{name}_FILE": str(file), "PARTITIONS": "many", "MAIL_FROM": ""})
    assert "hunter2" not in "\n".join(said)


@given(st.text(), st.text())
def test_secrets_are_equal_when_their_texts_are(one: str, other: str) -> None:
    assert (SecretText(one) == SecretText(other)) is (one == other)
    assert hash(SecretText(one)) == hash(SecretText(one))
    assert SecretText(one) != one


@given(st.sampled_from(variables()), st.text(st.characters(codec="utf-8", exclude_characters="\0")))
def test_no_text_does_worse_than_a_problem_with_its_name(name: str, text: str) -> None:
    try:
        load({name: text})
    except ConfigError as error:
        assert all(problem.startswith(PREFIX) for problem in error.problems)


def test_a_name_in_the_groups_needs_a_session_that_a_restart_fits_into() -> None:
    named = {"HOOKSTREAM_INSTANCE_ID": "hookstream-0"}
    with pytest.raises(ConfigError, match="INSTANCE_ID: a restart has to fit"):
        load(named)
    assert load({**named, "HOOKSTREAM_SESSION_TIMEOUT": "45"}).instance_id == "hookstream-0"
    for name in ("a b", "a/b", "ü", "x" * 201):
        with pytest.raises(ConfigError, match="INSTANCE_ID: at most 200"):
            load({"HOOKSTREAM_INSTANCE_ID": name, "HOOKSTREAM_SESSION_TIMEOUT": "45"})
    with pytest.raises(ConfigError, match="STOP_SECONDS"):
        load({"HOOKSTREAM_STOP_SECONDS": "-1"})
