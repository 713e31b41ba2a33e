"""The Helm chart, rendered by helm and checked by kubeconform."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from app.runtime.inputs import declarations
from app.runtime.roles import EVERYWHERE, ROLES
from app.settings import Settings
from monitoring import rules_file
from monitoring.files import DASHBOARD
from monitoring.rule import RUNBOOKS
from tests.helm.chart import EXAMPLES, Object, conform, environment, lint, render

each_example = pytest.mark.parametrize("example", EXAMPLES)
#: the smallest values that are accepted
LEAST = ("kafka.bootstrapServers=kafka:9092", "secret.existing=hookstream")
#: the same in one process, with a Secret that the chart makes
OWN_SECRET = (
    *("kafka.bootstrapServers=kafka:9092", "secret.values.secretKeys=a:b", "secret.values.adminToken=c"),
    *("singleProcess=true", "postgresql=false"),
)
SASL = ("kafka.security=sasl_ssl", "kafka.sasl.mechanism=SCRAM-SHA-512")
TOKENS = ("kafka.security=sasl_ssl", "kafka.sasl.mechanism=OAUTHBEARER")
ENDPOINT = ("kafka.oauth.tokenUrl=https://x/token", "kafka.oauth.clientId=hookstream")


def container(pod: Object) -> Object:
    """The only container of a pod."""
    (only,) = pod["spec"]["containers"]
    assert isinstance(only, dict)
    return only


@each_example
def test_an_example_is_accepted_by_lint_and_kubeconform(example: str, tmp_path: Path) -> None:
    assert "0 chart(s) failed" in (linted := lint(example)).stdout, linted.stderr
    done = conform(render(example).text, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Invalid: 0, Errors: 0, Skipped: 0" in done.stdout


def test_strimzi_before_version_1_accepts_the_former_api(tmp_path: Path) -> None:
    done = conform(render("locked-down", "strimzi.apiVersion=kafka.strimzi.io/v1beta2").text, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_kubeconform_refuses_a_field_that_does_not_exist(tmp_path: Path) -> None:
    done = conform(render("production").text.replace("readinessProbe:", "readyProbe:"), tmp_path)
    assert done.returncode == 1 and "readyProbe" in done.stdout


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ("kafka.bootstrapServer=kafka:9092", "bootstrapServer"),
        ("roles.fanot.replicas=2", "fanot"),
        ("settings.MAX_IN_FLIHGT=1", "MAX_IN_FLIHGT"),
        ("roles.dispatch.settings.MAX_INFLIGHT=1", "MAX_INFLIGHT"),
        ("settings.ADMIN_TOKEN=x", "ADMIN_TOKEN"),
        ("autoscaling.kind={hpa,keda}", "kind"),
        ("kafka.partitions=many", "partitions"),
        ("secret.exist=x", "exist"),
        ("image.digest=latest", "digest"),
    ],
)
def test_a_misspelled_value_is_refused_and_named(value: str, named: str) -> None:
    refused = render(None, *LEAST, value)
    assert refused.code != 0
    assert named in refused.error and "specifications of the schema" in refused.error


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (("secret.existing=x",), "kafka.bootstrapServers is empty"),
        (("kafka.bootstrapServers=k:1",), "the key ring must be given"),
        ((*LEAST, "postgresql=false"), "cannot share SQLite"),
        ((*LEAST, "singleProcess=true", "postgresql=false", "roles.all.replicas=2"), "needs PostgreSQL"),
        ((*LEAST, "mail.enabled=true"), "mail.from is empty"),
        ((*LEAST, "kafka.security=sasl_ssl"), "kafka.sasl.mechanism is"),
        ((*LEAST, *SASL), "kafka.sasl.username is empty"),
        ((*OWN_SECRET, "postgresql=true"), "secret.values.databaseUrl are empty"),
        ((*OWN_SECRET, "secret.values.adminToken="), "secret.values.adminToken are empty"),
        ((*OWN_SECRET, "mail.enabled=true", "mail.from=a@b.example"), "secret.values.smtpUrl are empty"),
        ((*OWN_SECRET, "egressProxy.enabled=true"), "secret.values.egressProxy are empty"),
        ((*OWN_SECRET, *SASL, "kafka.sasl.username=u"), "secret.values.kafkaPassword are empty"),
        ((*LEAST, "kafka.oauth.tokenUrl=https://x/"), "kafka.sasl.mechanism is not OAUTHBEARER"),
        ((*LEAST, *TOKENS), "set kafka.oauth.tokenUrl and clientId, or tokenFile"),
        ((*LEAST, *TOKENS, "kafka.oauth.tokenFile=/t", "kafka.oauth.scope=s"), "remove kafka.oauth.tokenUrl"),
        ((*OWN_SECRET, *TOKENS, *ENDPOINT), "secret.values.kafkaOauthClientSecret are empty"),
        ((*LEAST, "kafka.awsRegion=eu-central-1"), "goes together with kafka.sasl.mechanism AWS_MSK_IAM"),
        ((*LEAST, "monitoring.podMonitor.enabled=true", "monitoring.serviceMonitor.enabled=true"), "scraped twice"),
        ((*LEAST, "gateway.enabled=true"), "gateway.parentRefs is empty"),
        ((*LEAST, "roles.api.settings.MAX_EVENT_BYTES=1"), "it must be in settings, for all roles"),
        ((*LEAST, "ingress.enabled=true", "ingress.tlsSecret=x"), "ingress.host is empty"),
        ((*LEAST, "autoscaling.kind=keda", "autoscaling.prometheus="), "autoscaling.prometheus is empty"),
        ((*LEAST, "kafka.ca.secret=x"), "kafka.security is plaintext"),
        (
            (*LEAST, "autoscaling.kind=hpa", "roles.delay.autoscaling.min=1", "roles.delay.autoscaling.max=2"),
            "roles.delay.autoscaling: this role is not scaled",
        ),
        (
            (*LEAST, "roles.dispatch.autoscaling.min=3", "roles.dispatch.autoscaling.max=2"),
            "roles.dispatch.autoscaling.min is more than max",
        ),
        (
            (*LEAST, "autoscaling.kind=keda", "roles.dispatch.autoscaling.min=1", "roles.dispatch.autoscaling.max=13"),
            "roles.dispatch.autoscaling.max is more than kafka.partitions (12)",
        ),
    ],
)
def test_values_that_contradict_each_other_are_refused_in_a_sentence(values: tuple[str, ...], sentence: str) -> None:
    assert sentence in render(None, *values).error


def test_the_chart_has_one_workload_for_each_role_and_a_volume_for_each_with_tables() -> None:
    rendered = render(None, *LEAST)
    kinds = {name: each["kind"] for name, each in rendered.of_kind("Deployment", "StatefulSet").items()}
    tables = {name for name, spec in ROLES.items() if "table" in spec.state}
    assert kinds == {
        f"hooks-hookstream-{name}": "StatefulSet" if name in tables else "Deployment" for name in EVERYWHERE
    }
    for each in rendered.of_kind("StatefulSet").values():
        assert [claim["metadata"]["name"] for claim in each["spec"]["volumeClaimTemplates"]] == ["data"]
    assert {container(rendered.pods()[name])["args"][1] for name in EVERYWHERE} == set(EVERYWHERE)


def test_intake_exists_if_there_are_inputs_and_has_their_file(tmp_path: Path) -> None:
    inputs = [{"name": "orders", "topics": ["shop.orders"], "type": {"path": "$.type"}}]
    for single, component in ((False, "intake"), (True, "all")):
        rendered = render("dev" if single else None, *(() if single else LEAST), given={"inputs": inputs})
        (file,) = rendered.of_kind("ConfigMap").values()
        (tmp_path / "inputs.yaml").write_text(file["data"]["inputs.yaml"])
        (declared,) = declarations(Settings(inputs=tmp_path / "inputs.yaml"))
        assert declared.topics == ("shop.orders",)
        pods = rendered.pods()
        assert {name for name, pod in pods.items() if "HOOKSTREAM_INPUTS" in environment(pod)} == {component}
        mounts = {each["name"]: each["mountPath"] for each in container(pods[component])["volumeMounts"]}
        assert environment(pods[component])["HOOKSTREAM_INPUTS"] == f"{mounts['inputs']}/inputs.yaml"
        (volume,) = [each for each in pods[component]["spec"]["volumes"] if each["name"] == "inputs"]
        assert volume["configMap"]["name"] == file["metadata"]["name"]
        changed = render("dev" if single else None, *(() if single else LEAST), given={"inputs": inputs * 2}).pods()
        assert changed[component]["metadata"]["annotations"] != pods[component]["metadata"]["annotations"]
    assert "intake" not in render(None, *LEAST).pods()


def test_the_password_of_the_schema_registry_is_a_file_of_intake_alone() -> None:
    given = {"inputs": [{"name": "a", "topics": ["a"]}], "schemaRegistry": {"url": "https://r", "username": "u"}}
    pods = render(None, *LEAST, given=given).pods()
    variable = "HOOKSTREAM_SCHEMA_REGISTRY_PASSWORD_FILE"
    assert {name for name, pod in pods.items() if variable in environment(pod)} == {"intake"}
    (secret,) = [volume["secret"] for volume in pods["intake"]["spec"]["volumes"] if volume["name"] == "secret"]
    assert {"key": "schema-registry-password", "path": "schema-registry-password"} in secret["items"]
    assert environment(pods["intake"])[variable] == "/etc/hookstream/secret/schema-registry-password"


@each_example
def test_every_variable_is_a_setting(example: str) -> None:
    known = {f"HOOKSTREAM_{name.upper()}" for name in Settings.__struct_fields__}
    for pod in render(example).pods().values():
        names = environment(pod)
        assert names and not {name for name in names if not {name, name.removesuffix("_FILE")} & known}


@each_example
def test_kubernetes_adds_no_variables_that_the_service_would_refuse(example: str) -> None:
    """A Service named hookstream would add HOOKSTREAM_PORT and others to every pod of the namespace."""
    assert all(pod["spec"]["enableServiceLinks"] is False for pod in render(example).pods().values())


@each_example
def test_a_pod_may_do_as_little_as_possible(example: str) -> None:
    for pod in render(example).pods().values():
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        assert pod["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        rights = container(pod)["securityContext"]
        assert rights["readOnlyRootFilesystem"] is True and rights["allowPrivilegeEscalation"] is False
        assert rights["capabilities"] == {"drop": ["ALL"]}
        assert "memory" in container(pod)["resources"]["limits"]


def test_tokens_of_kafka_need_no_password() -> None:
    pod = render(None, *LEAST, *TOKENS, *ENDPOINT).pods()["fanout"]
    variables = environment(pod)
    assert variables["HOOKSTREAM_KAFKA_SASL_MECHANISM"] == "OAUTHBEARER"
    assert variables["HOOKSTREAM_KAFKA_OAUTH_TOKEN_URL"] == "https://x/token"
    assert variables["HOOKSTREAM_KAFKA_OAUTH_CLIENT_SECRET_FILE"].endswith("/kafka-oauth-client-secret")
    assert not {"HOOKSTREAM_KAFKA_USERNAME", "HOOKSTREAM_KAFKA_PASSWORD_FILE"} & variables.keys()
    (secret,) = [volume["secret"] for volume in pod["spec"]["volumes"] if volume["name"] == "secret"]
    assert {each["path"] for each in secret["items"]} == {"secret-keys", "kafka-oauth-client-secret"}
    region = ("kafka.security=sasl_ssl", "kafka.sasl.mechanism=AWS_MSK_IAM", "kafka.awsRegion=eu-central-1")
    variables = environment(render(None, *LEAST, *region).pods()["fanout"])
    assert variables["HOOKSTREAM_KAFKA_AWS_REGION"] == "eu-central-1"
    assert not any(name.endswith("KAFKA_PASSWORD_FILE") for name in variables)


def test_the_egress_proxy_is_given_to_the_roles_that_send() -> None:
    pods = render("production", "egressProxy.enabled=true").pods()
    variable = "HOOKSTREAM_EGRESS_PROXY_FILE"
    given = {component for component, pod in pods.items() if variable in environment(pod)}
    assert given == {"dispatch", "api"}
    (secret,) = [volume["secret"] for volume in pods["api"]["spec"]["volumes"] if volume["name"] == "secret"]
    assert {"key": "egress-proxy", "path": "egress-proxy"} in secret["items"]
    assert environment(pods["api"])[variable] == "/etc/hookstream/secret/egress-proxy"


@each_example
def test_a_secret_is_a_file_of_the_pods_that_need_it(example: str) -> None:
    secrets = {"secret-keys": set(EVERYWHERE) | {"all"}, "admin-token": {"api", "all"}}
    secrets |= {"database-url": {"api", "projection", "migration", "all"}, "smtp-url": {"notifier", "all"}}
    secrets |= {"kafka-password": {*EVERYWHERE, "all", "topics"}}
    for component, pod in render(example).pods().items():
        mounted = {
            item["path"]
            for volume in pod["spec"]["volumes"]
            if volume["name"] == "secret"
            for item in volume["secret"]["items"]
        }
        files = {Path(value).name for value in environment(pod).values() if "/etc/hookstream/secret/" in value}
        assert mounted == files
        assert all(component in secrets[path] for path in mounted)


@each_example
def test_the_grace_period_is_longer_than_a_stop(example: str) -> None:
    for component, pod in render(example, "stopSeconds=120").pods().items():
        if component in {*EVERYWHERE, "all"}:
            sleep = container(pod).get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
            stop = int(environment(pod)["HOOKSTREAM_STOP_SECONDS"])
            # 30 seconds for roles and connections besides requests in flight: docs/operations.md
            assert pod["spec"]["terminationGracePeriodSeconds"] > sleep + stop + 30


@each_example
def test_a_liveness_probe_waits_longer_than_the_watchdog_of_the_event_loop(example: str) -> None:
    for component, pod in render(example).pods().items():
        if component in {*EVERYWHERE, "all"}:
            probe = container(pod)["livenessProbe"]
            assert probe["periodSeconds"] * probe["failureThreshold"] > Settings().watchdog_loop_seconds


def scalers(kind: str) -> dict[str, Any]:
    """Role → what scales it, in the production example."""
    rendered = render("production", f"autoscaling.kind={kind}")
    return {
        name.removeprefix("hooks-hookstream-"): each["spec"]
        for name, each in rendered.of_kind("HorizontalPodAutoscaler", "ScaledObject").items()
    }


@pytest.mark.parametrize("kind", ["hpa", "keda"])
def test_roles_are_scaled_by_the_seconds_of_lag_of_what_they_read(kind: str) -> None:
    scaled = scalers(kind)
    assert set(scaled) == {"fanout", "dispatch", "projection", "api"}
    for name in set(scaled) - {"api"}:
        text = yaml.safe_dump(scaled[name], width=1000)
        assert "hookstream_consumer_lag_seconds" in text and f"hookstream.{name}" in text
        topics = [topic for topic in ROLES[name].reads if topic in text]
        assert topics and not any("delay" in topic for topic in topics)


def test_there_is_never_more_than_one_scaler_for_a_role() -> None:
    for kind, other in (("hpa", "ScaledObject"), ("keda", "HorizontalPodAutoscaler"), ("none", "ScaledObject")):
        rendered = render("production", f"autoscaling.kind={kind}")
        assert not rendered.of_kind(other)
        fixed = "replicas" in rendered.of_kind("StatefulSet")["hooks-hookstream-fanout"]["spec"]
        assert fixed is (kind == "none")


def test_roles_with_several_pods_have_a_disruption_budget() -> None:
    budgets = render(None, *LEAST, "roles.registry.replicas=2").of_kind("PodDisruptionBudget")
    assert set(budgets) == {"hooks-hookstream-registry"}


def test_rules_and_dashboard_are_those_of_the_repository() -> None:
    rendered = render("production")
    (rules,) = rendered.of_kind("PrometheusRule").values()
    assert rules["spec"] == rules_file.groups("https://wiki.example.com/hookstream/{alert}")
    (dashboard,) = rendered.of_kind("ConfigMap").values()
    assert dashboard["data"]["hookstream.json"].strip() == DASHBOARD.read_text(encoding="utf-8").strip()


@pytest.mark.parametrize(
    ("runbooks", "page"),
    [
        ("", RUNBOOKS),
        ("https://git.example.com/$1/runbooks/", "https://git.example.com/$1/runbooks/{alert}.md"),
        ("https://wiki.example.com/show?page={alert}", "https://wiki.example.com/show?page={alert}"),
    ],
)
def test_runbooks_can_be_anywhere(runbooks: str, page: str) -> None:
    rendered = render(None, *LEAST, "monitoring.rules.enabled=true", f"monitoring.rules.runbooks={runbooks}")
    (rules,) = rendered.of_kind("PrometheusRule").values()
    assert rules["spec"] == rules_file.groups(page)


def test_a_service_monitor_finds_the_pods_of_every_role_through_one_service() -> None:
    monitored = ("monitoring.podMonitor.enabled=false", "monitoring.serviceMonitor.enabled=true")
    rendered = render("production", *monitored, "monitoring.serviceMonitor.labels.release=prometheus")
    assert not rendered.of_kind("PodMonitor")
    (monitor,) = rendered.of_kind("ServiceMonitor").values()
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    (endpoint,) = monitor["spec"]["endpoints"]
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    services = [each for each in rendered.of_kind("Service").values() if wanted <= each["metadata"]["labels"].items()]
    (service,) = services
    assert service["spec"]["clusterIP"] == "None" and service["spec"]["publishNotReadyAddresses"] is True
    (port,) = service["spec"]["ports"]
    assert port["name"] == endpoint["port"]
    pods = rendered.pods()
    for role in EVERYWHERE:
        assert service["spec"]["selector"].items() <= pods[role]["metadata"]["labels"].items()
        assert port["targetPort"] in {each["name"] for each in container(pods[role])["ports"]}


def test_hooks_run_before_the_workloads_and_find_what_they_need() -> None:
    rendered = render(
        "dev", "postgresql=true", "secret.values.databaseUrl=postgresql://db/x", "networkPolicy.enabled=true"
    )
    hooks = {
        (each["kind"], each["metadata"]["name"]): int(each["metadata"]["annotations"]["helm.sh/hook-weight"])
        for each in rendered.objects()
        if "pre-install" in each["metadata"].get("annotations", {}).get("helm.sh/hook", "")
    }
    topics, migration = (hooks["Job", f"hooks-hookstream-{name}"] for name in ("topics", "migration"))
    assert topics < migration
    for kind, name in (("Secret", "hooks-hookstream"), ("NetworkPolicy", "hooks-hookstream-topics")):
        assert hooks[kind, name] < topics


def test_an_uninstallation_leaves_the_secret_alone_of_what_hooks_have_made() -> None:
    rendered = render("dev", "networkPolicy.enabled=true")
    stays = {
        each["kind"]
        for each in rendered.objects()
        if "helm.sh/hook" in (notes := each["metadata"].get("annotations", {}))
        and "hook-succeeded" not in notes["helm.sh/hook-delete-policy"]
    }
    assert stays == {"Secret"}
