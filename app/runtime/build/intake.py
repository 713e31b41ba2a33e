"""Build the intake role."""

from __future__ import annotations

from app.adapters.http.schema_registry import HttpSchemaRegistry
from app.adapters.kafka.consumer import KafkaGroupConsumer
from app.core.topics.declarations import GROWTH, max_message_bytes
from app.core.topics.names import TopicName
from app.ports.clock import Clock
from app.ports.dependencies import Dependency
from app.roles.intake.plan import IntakeRules
from app.roles.intake.role import IntakeRole
from app.runtime.build.shared import Shared
from app.runtime.inputs import inputs_of
from app.settings import Settings

_FETCH_BYTES = 1024 * 1024


def schema_registry(settings: Settings, clock: Clock, status: Dependency | None = None) -> HttpSchemaRegistry | None:
    """A client of the schema registry; None without its setting."""
    if settings.schema_registry_url is None:
        return None
    password = settings.schema_registry_password
    return HttpSchemaRegistry(
        settings.schema_registry_url,
        clock,
        status,
        username=settings.schema_registry_username,
        password=password.reveal() if password is not None else None,
        ca_file=settings.schema_registry_ca_file,
    )


def intake_role(shared: Shared) -> IntakeRole:
    """A new intake role. Raises `ConfigError` where the file of inputs has become unusable."""
    settings = shared.settings
    inputs = inputs_of(settings, shared.topics)
    source = KafkaGroupConsumer(
        shared.clients,
        group=shared.group("intake"),
        client_id="hookstream-intake",
        topics=[],
        pattern=inputs.subscription(),
        session_s=settings.session_timeout,
        instance=settings.instance_id,
        max_partition_fetch_bytes=_FETCH_BYTES,
    )
    return IntakeRole(
        source=source,
        producer=shared.producer,
        inputs=inputs,
        registry=schema_registry(settings, shared.clock, shared.dependencies.of("schema_registry")),
        rules=IntakeRules(
            events=shared.name(TopicName.EVENTS_RAW),
            rejected=shared.name(TopicName.EVENTS_REJECTED),
            max_event_bytes=settings.max_event_bytes,
            max_rejected_bytes=max_message_bytes(settings.max_event_bytes) - GROWTH,
        ),
        clock=shared.clock,
        meter=shared.meter,
    )
