"""Values of the chart with typing errors at every depth, and with texts that mean something to YAML or to templates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.architecture.chart_schema import FILE
from tests.helm.chart import Object, conform, environment, render

HOSTILE = (
    *('"', "'", "\\", "a: b", "- a", "#", " # a", "{a: b}", "[a]", "*a", "&a b", "!!int 3", "|", ">", "%a", "@a"),
    *("yes", "no", "true", "null", "~", "", " ", "0x1F", "0o17", "017", "1e3", "1_000", "2024-01-01", "12:30:45"),
    *("a\nb", "a\r\nb\n", "\ta", "---\na: b\n...", "{{ .Values.secret }}", "$(reboot)", "\u00e9 \u00a0 \U0001f600"),
)
#: names that Kubernetes or the address of an object would not accept
REFUSED = ("a: b", "a\nb", "{{ x }}", "a b", "*", "A_b", "-a")


def test_typing_errors_at_every_depth_are_named_at_once() -> None:
    wrong: Object = {
        "imageQ": {},
        "image": {"tagQ": "x", "pullSecrets": [{"nameQ": "x"}]},
        "kafka": {"ca": {"secretQ": "x"}, "sasl": {"mechanismQ": "PLAIN"}},
        "roles": {
            "dispatch": {
                "autoscaling": {"min": 1, "max": 2, "lagSecondsQ": 5},
                "persistence": {"sizeQ": "1Gi"},
                "resources": {"limitsQ": {"memory": "1Gi"}},
            }
        },
        "job": {"resources": {"requestsQ": {}}},
        "gateway": {"parentRefs": [{"name": "public", "namespaceQ": "x"}]},
        "networkPolicy": {
            "kafka": {"portQ": [9092]},
            "apiFrom": [{"namespaceSelectorQ": {}}],
            "postgresql": {"to": [{"ipBlock": {"cidrQ": "10.0.0.0/8"}}]},
            "extraEgress": [{"portsQ": []}],
        },
        "monitoring": {"serviceMonitor": {"intervalQ": "15s"}},
        "extraEnv": [{"name": "A", "valueQ": "b"}],
        "extraVolumes": [{"name": "a", "configMap": {"optionalQ": "b"}}],
        "extraVolumeMounts": [{"name": "a", "mountPathQ": "/a"}],
        "tolerations": [{"keyQ": "a"}],
        "affinity": {"nodeAffinity": {"requiredQ": {}}},
        "topologySpreadConstraints": [{"maxSkewQ": 1}],
    }
    refused = render("production", given=wrong)
    assert refused.code != 0
    misspelled = {name for name in names_in(wrong) if name.endswith("Q")}
    assert len(misspelled) == 21
    assert not {name for name in misspelled if f"additional properties '{name}' not allowed" not in refused.error}


def test_an_extra_variable_that_looks_like_a_setting_has_to_be_one() -> None:
    extra = [
        {"name": name, "value": "/etc/x"} for name in ("OTEL_A", "HOOKSTREAM_CA_FILE", "HOOKSTREAM_ADMIN_TOKEN_FILE")
    ]
    assert render("production", given={"extraEnv": extra}).code == 0
    wrong = [{"name": "HOOKSTREAM_MAX_IN_FLIHGT", "value": "1"}]
    assert "HOOKSTREAM_MAX_IN_FLIHGT is not a setting" in render("production", given={"extraEnv": wrong}).error


def names_in(part: Any) -> set[str]:
    """The names of all objects."""
    if isinstance(part, list):
        return {name for each in part for name in names_in(each)}
    return {*part, *(name for each in part.values() for name in names_in(each))} if isinstance(part, dict) else set()


def test_free_text_arrives_as_it_was_written(tmp_path: Path) -> None:
    names = [*json.loads(FILE.read_text(encoding="utf-8"))["$defs"]["settings"]["properties"]]
    odd = dict(zip(HOSTILE, HOSTILE, strict=True))
    for start in range(0, len(HOSTILE), len(names)):
        texts = HOSTILE[start : start + len(names)]
        settings = dict(zip(names, texts, strict=False))
        text = texts[0]
        given: Object = {
            "settings": settings,
            "kafka": {
                "bootstrapServers": f"k{text}",
                "security": "sasl_ssl",
                "sasl": {"mechanism": "PLAIN", "username": f"u{text}"},
            },
            "mail": {"from": f"f{text}"},
            "secret": {"existing": "", "values": {"smtpUrl": f"s{text}", "kafkaPassword": f"p{text}"}},
            "extraEnv": [{"name": f"E{number}", "value": each} for number, each in enumerate(HOSTILE)],
            "podAnnotations": odd,
            "service": {"annotations": odd},
            "autoscaling": {"prometheus": f"http://{text}"},
        }
        given["secret"]["values"] |= {"secretKeys": f"k{text}", "adminToken": f"a{text}", "databaseUrl": f"d{text}"}
        rendered = render("production", given=given)
        pod = rendered.pods()["notifier"]
        done = conform(rendered.text, tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        variables = environment(pod)
        assert {f"HOOKSTREAM_{name}": value for name, value in settings.items()}.items() <= variables.items()
        assert {f"E{number}": each for number, each in enumerate(HOSTILE)}.items() <= variables.items()
        assert variables["HOOKSTREAM_MAIL_FROM"] == f"f{text}"
        assert variables["HOOKSTREAM_BOOTSTRAP_SERVERS"] == f"k{text}"
        assert variables["HOOKSTREAM_KAFKA_USERNAME"] == f"u{text}"
        assert pod["metadata"]["annotations"].items() >= odd.items()
        (secret,) = rendered.of_kind("Secret").values()
        assert secret["stringData"] == {
            "secret-keys": f"k{text}",
            "admin-token": f"a{text}",
            "database-url": f"d{text}",
            "smtp-url": f"s{text}",
            "kafka-password": f"p{text}",
        }
        for each in rendered.of_kind("ScaledObject").values():
            for trigger in each["spec"]["triggers"]:
                assert trigger["metadata"].get("serverAddress", f"http://{text}") == f"http://{text}"


def test_names_of_digits_stay_texts(tmp_path: Path) -> None:
    given: Object = {
        "fullnameOverride": "hooks",
        "nameOverride": "0x1",
        "kafka": {"topicPrefix": "1e3", "ca": {"secret": "123", "key": "1.0"}, "client": {"secret": "456"}},
        "secret": {"existing": "789", "keys": {"secretKeys": "1", "adminToken": "null", "databaseUrl": "true"}},
        "persistence": {"storageClass": "1.10", "size": "10"},
        "priorityClassName": "100",
        "serviceAccount": {"name": "2024"},
        "ingress": {"className": "1", "host": "*.1.2", "tlsSecret": "3"},
        "podLabels": {"team": "1e3"},
        "image": {"tag": "1.10"},
    }
    rendered = render("production", given=given, release="1e3")
    assert rendered.code == 0, rendered.error
    done = conform(rendered.text, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    pod = rendered.pods()["api"]
    assert pod["spec"]["priorityClassName"] == "100" and pod["metadata"]["labels"]["team"] == "1e3"
    (volume,) = [each["secret"] for each in pod["spec"]["volumes"] if each["name"] == "secret"]
    assert volume["secretName"] == "789" and {each["key"] for each in volume["items"]} == {"1", "null", "true"}
    (ingress,) = rendered.of_kind("Ingress").values()
    assert ingress["spec"]["rules"][0]["host"] == "*.1.2"


def test_a_release_whose_name_cannot_begin_a_name_of_kubernetes_is_refused_in_a_sentence() -> None:
    assert "set fullnameOverride" in render("production", release="1e3").error


def test_names_that_kubernetes_would_refuse_are_refused_by_the_schema() -> None:
    for text in REFUSED:
        refused = render(
            "production",
            given={
                "nameOverride": text,
                "fullnameOverride": text,
                "image": {"repository": text},
                "kafka": {"topicPrefix": f"{text} ", "ca": {"secret": text}},
                "secret": {"existing": text, "keys": {"secretKeys": f"{text}/"}},
                "ingress": {"host": text, "className": text, "tlsSecret": text},
                "persistence": {"size": text, "storageClass": text},
                "networkPolicy": {"privateEndpoints": [text]},
                "monitoring": {"podMonitor": {"interval": text}, "rules": {"runbooks": text}},
                "podLabels": {"app.kubernetes.io/component": "x"},
                "strimzi": {"cluster": text},
                "priorityClassName": text,
            },
        )
        places = {line.split("'")[1] for line in refused.error.splitlines() if "- at '" in line}
        assert places >= {
            *("/nameOverride", "/fullnameOverride", "/image/repository", "/kafka/topicPrefix", "/kafka/ca/secret"),
            *("/secret/existing", "/secret/keys/secretKeys", "/ingress/host", "/ingress/className"),
            *("/ingress/tlsSecret", "/persistence/size", "/persistence/storageClass", "/strimzi/cluster"),
            *("/networkPolicy/privateEndpoints/0", "/monitoring/podMonitor/interval", "/monitoring/rules/runbooks"),
            "/priorityClassName",
        }, text
        assert "invalid propertyName 'app.kubernetes.io/component'" in refused.error


def test_a_number_is_refused_where_a_text_is_needed() -> None:
    given: Object = {
        "settings": {"MAX_IN_FLIGHT": 2048},
        "extraEnv": [{"name": "A", "value": 5}],
        "podAnnotations": {"a": True},
    }
    error = render("production", given=given).error
    for place in ("/settings/MAX_IN_FLIGHT", "/extraEnv/0/value", "/podAnnotations/a"):
        assert f"at '{place}'" in error
