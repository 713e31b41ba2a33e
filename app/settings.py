"""All settings: one frozen tree read from HOOKSTREAM_* variables (each also as …_FILE), all errors at once.

Adding a setting = adding a field with its `#:` sentence: the loader, `config print` and the documentation follow.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec

from app.core import default_ports, email, membership
from app.core.domains import name_server_problems
from app.core.egress_proxy import egress_proxy_problems
from app.core.errors import ConfigError
from app.core.kafka_connection import KafkaConnection
from app.core.secret_text import SecretText
from app.core.setting_rules import (
    api_problems,
    database_problems,
    egress_problems,
    operator_token_problems,
    origin_problems,
    schema_registry_problems,
    watchdog_problems,
)

PREFIX = "HOOKSTREAM_"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The service's settings, checked."""

    #: Kafka's host:port list. If set, no broker is started; otherwise `up` starts an embedded one
    bootstrap_servers: str | None = None
    #: encryption and login of Kafka connections: plaintext, ssl, sasl_plaintext or sasl_ssl
    kafka_security: str = "plaintext"
    #: certificate authorities of the brokers (PEM); unset: those of the system
    kafka_ca_file: Path | None = None
    #: this client's certificate (PEM), for brokers that ask for one
    kafka_cert_file: Path | None = None
    #: its private key (PEM, not encrypted)
    kafka_key_file: Path | None = None
    #: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER or AWS_MSK_IAM
    kafka_sasl_mechanism: str | None = None
    #: user of Kafka, for PLAIN and SCRAM
    kafka_username: str | None = None
    #: password of that user
    kafka_password: SecretText | None = None
    #: token endpoint of the authorization server, for OAUTHBEARER with client credentials
    kafka_oauth_token_url: str | None = None
    #: this client's id at that server
    kafka_oauth_client_id: str | None = None
    #: its secret
    kafka_oauth_client_secret: SecretText | None = None
    #: scopes to ask for, separated by spaces
    kafka_oauth_scope: str | None = None
    #: certificate authorities of the token endpoint (PEM); unset: those of the system
    kafka_oauth_ca_file: Path | None = None
    #: file with a token, read for each new connection; in place of a token endpoint
    kafka_oauth_token_file: Path | None = None
    #: SASL extensions for the brokers, as name=value, comma-separated
    kafka_oauth_extensions: tuple[str, ...] = ()
    #: AWS region of the cluster, for AWS_MSK_IAM; needs the extra `msk`
    kafka_aws_region: str | None = None
    #: folder of the embedded broker, the tables and the key ring
    data_dir: Path = Path(".hookstream")
    #: folder of the embedded broker's jars; default: the user's cache folder
    cache_dir: Path | None = None
    #: port of the embedded broker; 0 = any free one, the same at each start
    kafka_port: int = 0
    #: address of the management API
    api_host: str = "127.0.0.1"
    #: its port; 0 = any
    api_port: int = default_ports.API
    #: address of this service for browsers, such as https://hooks.example.com; unset: links lead to this machine
    public_url: str | None = None
    #: origins that may show the portal in a frame, such as https://app.example.com, comma-separated
    portal_origins: tuple[str, ...] = ()
    #: requests per second of one key
    api_rate_limit: int = 500
    #: requests per second of one tenant, with all its keys, sessions and portal links
    api_rate_limit_per_tenant: int = 2000
    #: concurrent connections to the API; beyond it the connection that has waited longest is closed
    api_connections: int = 2000
    #: the same for one address; behind a proxy, the proxy's address; 0 = no limit
    api_connections_per_address: int = 500
    #: port of /healthz, /readyz and /metrics of `run`; 0 = any
    metrics_port: int = default_ports.METRICS
    #: endpoints of one tenant, in both modes together; fan-out is measured with 100,000
    max_endpoints_per_tenant: int = 100_000
    #: API keys of one tenant
    max_keys_per_tenant: int = 1_000
    #: event types of one tenant; each may have a schema of 64 KiB, which every process loads
    max_event_types_per_tenant: int = 1_000
    #: prefix of every topic and group name, for example `acme.`
    topic_prefix: str = ""
    #: partitions of events.raw and of the deliveries family
    partitions: int = 12
    #: copies of every partition; the embedded broker has 1
    replication_factor: int = 3
    #: largest value of an event record, in bytes
    max_event_bytes: int = 262_144
    #: hours during which an idempotency key is delivered once
    idempotency_ttl_hours: float = 24.0
    #: store of the stream roles' tables: rocksdb (on disk) or memory (read from Kafka at each start)
    table_store: str = "rocksdb"
    #: the operator's token for the management API, 20 characters or more; `up` generates one in the data folder
    admin_token: SecretText | None = None
    #: key ring that seals signing secrets: ID:BASE64 of 32 bytes, comma-separated, the first one seals
    secret_keys: SecretText | None = None
    #: database of the read model; unset: SQLite in the data folder
    database_url: SecretText | None = None
    #: file that declares inputs (YAML): other systems' topics whose records become events; see docs/inputs.md
    inputs: Path | None = None
    #: address of the schema registry of inputs with `format: confluent`, such as https://registry.example.com
    schema_registry_url: str | None = None
    #: user there, for basic authentication
    schema_registry_username: str | None = None
    #: password of that user
    schema_registry_password: SecretText | None = None
    #: certificate authorities of the schema registry (PEM); unset: those of the system
    schema_registry_ca_file: Path | None = None
    #: days for which the read model keeps deliveries after their last change; Kafka keeps attempts for 30 days
    retention_days: float = 30.0
    #: private networks in which endpoints are allowed, as CIDRs, comma-separated
    egress_allow: tuple[str, ...] = ()
    #: the only ports endpoints may use, comma-separated; unset: all except those of mail, login and chat servers
    egress_ports: tuple[str, ...] = ()
    #: proxy for requests to endpoints (CONNECT): http://user:password@host:port; unset: they are sent directly
    egress_proxy: SecretText | None = None
    #: hosts, networks (CIDRs) or host:port that do not go through the proxy, comma-separated; unset: those of NO_PROXY
    egress_no_proxy: tuple[str, ...] = ()
    #: addresses and networks (CIDRs) that requests to endpoints come from, comma-separated: API and portal show them
    egress_ips: tuple[str, ...] = ()
    #: name servers for endpoints' names, as address or address:port, comma-separated; unset: those of /etc/resolv.conf
    dns_servers: tuple[str, ...] = ()
    #: allow endpoints with http:// URLs
    allow_http: bool = False
    #: file with additional trusted certificate authorities (PEM)
    ca_file: Path | None = None
    #: seconds without a heartbeat after which a worker's partitions are reassigned; Kafka allows 6 to 1800
    session_timeout: float = 10.0
    #: unique name of this process in its groups: restarts within the session timeout move no partitions
    instance_id: str | None = None
    #: seconds a stop waits for requests in flight; interrupted requests are sent again
    stop_seconds: float = 15.0
    #: requests in flight of one dispatch process
    max_in_flight: int = 1024
    #: requests in flight for one endpoint, unless the endpoint sets its own limit
    max_in_flight_per_endpoint: int = 32
    #: hours a delivery may wait for an attempt that its endpoint cannot take; the length of its schedule, if longer
    max_wait_hours: float = 24.0
    #: mail server, smtp://user:password@host:port (STARTTLS) or smtps://…; unset: no e-mail
    smtp_url: SecretText | None = None
    #: sender of e-mail: an address, or `Name <address>`
    mail_from: str | None = None
    #: seconds over which notices are combined into one e-mail
    notify_digest_seconds: float = 10.0
    #: seconds between two e-mails for one tenant
    notify_cooldown_seconds: float = 900.0
    #: seconds without progress, with work waiting, after which the process is not ready; 0 = never
    watchdog_suspect_seconds: float = 30.0
    #: seconds without progress after which the role is stuck and ended; 0 = never
    watchdog_stuck_seconds: float = 120.0
    #: seconds without a step in which tables may recover or a group may be joined; 0 = any
    watchdog_recovery_seconds: float = 600.0
    #: seconds after which a blocked event loop ends the process; 0 = never
    watchdog_loop_seconds: float = 60.0
    #: multiplies every retry delay, for tests and demos
    time_scale: float = 1.0
    #: endpoints of each process that have metrics of their own, chosen by traffic and failures: 0 to 100
    metrics_top_endpoints: int = 0
    #: json or console
    log_format: str = "json"
    #: debug, info, warning or error
    log_level: str = "info"
    #: export spans over OTLP, as the standard variables OTEL_EXPORTER_OTLP_… say; needs the extra `otel`
    tracing: bool = False


#: the defaults of `up`: one broker of its own, receivers on this machine
UP_DEFAULTS: Mapping[str, str] = {
    "REPLICATION_FACTOR": "1",
    "ALLOW_HTTP": "true",
    "EGRESS_ALLOW": "127.0.0.0/8,::1/128",
    "LOG_FORMAT": "console",
    "LOG_LEVEL": "warning",
}


def load(environ: Mapping[str, str], defaults: Mapping[str, str] | None = None) -> Settings:
    """The settings of an environment; `ConfigError` has all that is wrong with it.

    `defaults` (names without prefix) stand in for what the environment leaves out.
    """
    problems: list[str] = []
    given = dict(defaults or {})
    if environ.get(f"{PREFIX}BOOTSTRAP_SERVERS") or environ.get(f"{PREFIX}BOOTSTRAP_SERVERS_FILE"):
        given.pop("REPLICATION_FACTOR", None)  # an external cluster: the production default
    texts, files = _texts(environ, problems)
    given |= texts
    if "EGRESS_PROXY" in given:  # without a list of its own, the one that other programs use
        given.setdefault("EGRESS_NO_PROXY", environ.get("NO_PROXY") or environ.get("no_proxy") or "")
    hints = get_type_hints(Settings)
    defaults_of = {field.name: field.default for field in msgspec.structs.fields(Settings)}
    values: dict[str, Any] = {}
    for name, text in given.items():
        try:
            values[name.lower()] = _convert(text, hints[name.lower()], defaults_of[name.lower()])
        except ValueError as error:
            problems.append(f"{PREFIX}{name}: {error}")
    for name in files.keys() & values.keys():
        if isinstance(values[name], SecretText):
            values[name] = SecretText(values[name].reveal(), files[name])
    settings = Settings(**values)
    problems += _contradictions(settings)
    if problems:
        raise ConfigError(problems)
    return settings


def kafka_connection(settings: Settings, bootstrap: str) -> KafkaConnection:
    """How to connect to the brokers `bootstrap`. Raises `ConfigError` for contradictions."""
    fields = {name: getattr(settings, f"kafka_{name}") for name in KafkaConnection.SETTINGS}
    return KafkaConnection(bootstrap=bootstrap, **fields)


def differing(settings: Settings) -> dict[str, str]:
    """Variable → value of settings that differ from the default, for the log; secrets are hidden."""
    values = {field.name: (getattr(settings, field.name), field.default) for field in msgspec.structs.fields(settings)}
    return {PREFIX + name.upper(): _shown(value) for name, (value, default) in values.items() if value != default}


def _shown(value: object) -> str:
    match value:
        case SecretText():
            return "***"
        case tuple():
            return ",".join(map(str, value))
        case bool():
            return str(value).lower()
        case None:
            return ""
        case _:
            return str(value)


def variables() -> list[str]:
    """The names of all variables."""
    return [PREFIX + name.upper() for name in Settings.__struct_fields__]


def _texts(environ: Mapping[str, str], problems: list[str]) -> tuple[dict[str, str], dict[str, Path]]:
    """Name → text; field → file from which its text was read."""
    names = {name.upper() for name in Settings.__struct_fields__}
    texts: dict[str, str] = {}
    files: dict[str, Path] = {}
    for variable, text in environ.items():
        if not variable.startswith(PREFIX) or variable.startswith(f"{PREFIX}TEST_"):
            continue
        name = variable.removeprefix(PREFIX)
        if name in names:
            if f"{variable}_FILE" in environ:
                problems.append(f"{variable} and {variable}_FILE are both set: keep one")
            texts[name] = text
        elif name.removesuffix("_FILE") in names:
            files[name.removesuffix("_FILE").lower()] = Path(text)
            try:
                texts[name.removesuffix("_FILE")] = Path(text).read_text(encoding="utf-8").strip()
            except OSError as error:
                problems.append(f"{variable}: {text} cannot be read ({error.strerror})")
            except UnicodeDecodeError:
                problems.append(f"{variable}: {text} does not hold text")
        else:
            near = get_close_matches(name, names, n=1)
            hint = f"; did you mean {PREFIX}{near[0]}?" if near else ""
            problems.append(f"{variable} is not a setting{hint}")
    return texts, files


def _convert(text: str, hint: Any, default: Any) -> Any:
    """The value of a text. An empty text is a value, too: the empty list, or nothing where nothing is allowed."""
    if hint == tuple[str, ...]:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    kinds = [kind for kind in get_args(hint) if kind is not type(None)]
    if text == "" and kinds:
        return None
    if text == "" and default != "":
        raise ValueError("it is empty: set a value, or remove the variable")
    kind = kinds[0] if kinds else hint
    if kind is bool:
        if text.lower() not in _BOOLEANS:
            raise ValueError(f"{text!r}: true or false")
        return _BOOLEANS[text.lower()]
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError as error:
            raise ValueError(f"{text!r} is not a number") from error
    return kind(text)


_BOOLEANS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


def _contradictions(settings: Settings) -> list[str]:
    problems: list[str] = []

    def demand(truth: bool, name: str, sentence: str) -> None:
        if not truth:
            problems.append(f"{PREFIX}{name}: {sentence}")

    for name in ("kafka_port", "api_port", "metrics_port"):
        demand(0 <= getattr(settings, name) <= 65535, name.upper(), "a port is 0 to 65535")
    demand(1 <= settings.partitions <= 1000, "PARTITIONS", "1 to 1000")
    demand(1 <= settings.replication_factor <= 10, "REPLICATION_FACTOR", "1 to 10")
    demand(1024 <= settings.max_event_bytes <= 8 * 1024 * 1024, "MAX_EVENT_BYTES", "1024 to 8388608")
    for name in ("max_endpoints_per_tenant", "max_keys_per_tenant", "max_event_types_per_tenant"):
        demand(1 <= getattr(settings, name) <= 10_000_000, name.upper(), "1 to 10000000")
    demand(0 < settings.time_scale <= 1000, "TIME_SCALE", "greater than 0, at most 1000")
    demand(0 < settings.idempotency_ttl_hours <= 168, "IDEMPOTENCY_TTL_HOURS", "greater than 0, at most 168")
    demand(0 < settings.retention_days <= 3650, "RETENTION_DAYS", "greater than 0, at most 3650")
    demand(0 < settings.max_wait_hours <= 144, "MAX_WAIT_HOURS", "greater than 0, at most 144")
    unfit = membership.problems(settings.instance_id, settings.session_timeout, settings.stop_seconds)
    problems += [f"{PREFIX}{problem}" for problem in unfit]
    demand(settings.max_in_flight >= 1, "MAX_IN_FLIGHT", "at least 1")
    each = settings.max_in_flight_per_endpoint
    demand(1 <= each <= settings.max_in_flight, "MAX_IN_FLIGHT_PER_ENDPOINT", "between 1 and HOOKSTREAM_MAX_IN_FLIGHT")
    demand(settings.table_store in ("rocksdb", "memory"), "TABLE_STORE", "rocksdb or memory")
    demand(0 <= settings.metrics_top_endpoints <= 100, "METRICS_TOP_ENDPOINTS", "0 to 100")
    demand(settings.log_format in ("json", "console"), "LOG_FORMAT", "json or console")
    demand(settings.log_level in ("debug", "info", "warning", "error"), "LOG_LEVEL", "debug, info, warning or error")
    for name in ("ca_file", "inputs", "schema_registry_ca_file"):
        path: Path | None = getattr(settings, name)
        demand(path is None or path.is_file(), name.upper(), f"{path} is not a file")
    demand(
        all((character.isascii() and character.isalnum()) or character in "._-" for character in settings.topic_prefix),
        "TOPIC_PREFIX",
        "letters, digits, '.', '_' and '-'",
    )
    return problems + [problem for judge in _JUDGES for problem in judge(settings)]


def _address_problems(settings: Settings) -> list[str]:
    problems = [
        *operator_token_problems(settings.admin_token),
        *api_problems(
            settings.api_rate_limit,
            settings.api_rate_limit_per_tenant,
            settings.api_connections,
            settings.api_connections_per_address,
        ),
        *schema_registry_problems(
            settings.schema_registry_url, settings.schema_registry_username, settings.schema_registry_password
        ),
        *origin_problems(settings.portal_origins, settings.public_url),
        *database_problems(settings.database_url),
        *egress_problems(settings.egress_ports, settings.egress_allow, settings.egress_ips),
        *egress_proxy_problems(
            settings.egress_proxy.reveal() if settings.egress_proxy else None, settings.egress_no_proxy
        ),
        *(f"DNS_SERVERS: {problem}" for problem in name_server_problems(settings.dns_servers)),
    ]
    return [f"{PREFIX}{problem}" for problem in problems]


def _mail_problems(settings: Settings) -> list[str]:
    problems = email.setting_problems(settings.smtp_url, settings.mail_from)
    for name in ("notify_digest_seconds", "notify_cooldown_seconds"):
        if not 0 <= getattr(settings, name) <= 86_400:
            problems.append(f"{name.upper()}: 0 to 86400")
    return [f"{PREFIX}{problem}" for problem in problems]


def _watchdog_problems(settings: Settings) -> list[str]:
    limits = {name: getattr(settings, name) for name in Settings.__struct_fields__ if name.startswith("watchdog_")}
    return [f"{PREFIX}{problem}" for problem in watchdog_problems(limits, PREFIX)]


def _kafka_problems(settings: Settings) -> list[str]:
    try:
        kafka_connection(settings, settings.bootstrap_servers or "")
    except ConfigError as error:
        return error.problems
    if settings.kafka_security == "plaintext" or settings.bootstrap_servers:
        return []
    return [
        f"{PREFIX}KAFKA_SECURITY: {settings.kafka_security} needs {PREFIX}BOOTSTRAP_SERVERS; "
        "the embedded broker has plaintext only"
    ]


_JUDGES = (_address_problems, _watchdog_problems, _mail_problems, _kafka_problems)
