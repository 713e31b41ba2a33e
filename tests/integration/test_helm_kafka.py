"""How the chart's pods log in to Kafka: their settings are those that the service accepts."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.runtime.roles import EVERYWHERE
from app.settings import kafka_connection, load
from tests.helm.chart import EXAMPLES, Object, environment, render

OAUTH = "kafka.oauth"
ENDPOINT = (f"{OAUTH}.tokenUrl=https://login.example.com/token", f"{OAUTH}.clientId=hooks")
LOGINS = {
    "scram": ("kafka.sasl.mechanism=SCRAM-SHA-512", "kafka.sasl.username=hooks"),
    "endpoint": (
        "kafka.sasl.mechanism=OAUTHBEARER",
        *ENDPOINT,
        f"{OAUTH}.scope=a b",
        f"{OAUTH}.caFile=/etc/ca.pem",
    ),
    "token": ("kafka.sasl.mechanism=OAUTHBEARER", f"{OAUTH}.tokenFile=/var/token", f"{OAUTH}.extensions=a=b\\,c=d"),
    "msk": ("kafka.sasl.mechanism=AWS_MSK_IAM", "kafka.awsRegion=eu-central-1"),
}


def files(folder: Path, pod: Object) -> dict[str, str]:
    """The variables of a pod; the files that they name exist below a folder."""
    variables = {name: value for name, value in environment(pod).items() if not value.startswith("$(")}
    for name, value in variables.items():
        if name.endswith("_FILE"):
            path = folder / value.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(TEXTS.get(path.name, "x"), encoding="utf-8")
            variables[name] = str(path)
    return variables


TEXTS = {
    "secret-keys": "t1:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
    "admin-token": "op_0123456789abcdef0123456789",
    "database-url": "postgresql://db/x",
    "smtp-url": "smtp://127.0.0.1:9",
}


@pytest.mark.parametrize("login", LOGINS)
def test_the_service_accepts_the_settings_of_every_pod(login: str, tmp_path: Path) -> None:
    secured = ("kafka.security=sasl_ssl", "kafka.client.secret=")
    rendered = render("production", *secured, *LOGINS[login])
    for component, pod in rendered.pods().items():
        settings = load(files(tmp_path / component, pod))
        connection = kafka_connection(settings, "kafka:9092")
        assert (connection.sasl_mechanism is None) is (component == "migration")


def test_the_client_secret_is_mounted_where_kafka_is_used() -> None:
    rendered = render("production", "kafka.security=sasl_ssl", "kafka.client.secret=", *LOGINS["endpoint"])
    for component, pod in rendered.pods().items():
        volumes = {each["name"]: each for each in pod["spec"]["volumes"]}
        keys = {item["key"] for item in volumes["secret"]["secret"]["items"]}
        assert ("kafka-oauth-client-secret" in keys) is (component in {*EVERYWHERE, "topics"})


@pytest.mark.parametrize("example", EXAMPLES)
def test_hooks_use_the_account_that_exists_before_them(example: str) -> None:
    hooks = ("topics", "migration")
    own = render(example).pods()
    assert not any("serviceAccountName" in own[name]["spec"] for name in hooks if name in own)
    given = render(example, "serviceAccount.create=false", "serviceAccount.name=iam").pods()
    assert all(pod["spec"]["serviceAccountName"] == "iam" for pod in given.values())
