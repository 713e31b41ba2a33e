"""Build the registry role."""

from __future__ import annotations

from app.adapters.json_schemas import schema_problem
from app.adapters.kafka.registry_store import KafkaRegistryStore
from app.adapters.secrets.subject_vault import AesSubjectKeeper
from app.core.egress import check_url
from app.core.limits import TenantLimits
from app.core.sealing import newest_secret_problem
from app.core.topics.names import TopicName
from app.profiles.catalog import PROFILES
from app.profiles.secrets import secret_problem
from app.roles.registry.role import RegistryRole
from app.runtime.build.shared import Shared


def registry_role(shared: Shared) -> RegistryRole:
    """A new registry role."""
    settings, keyring = shared.settings, shared.keyring

    def store() -> KafkaRegistryStore:
        return KafkaRegistryStore(
            shared.clients,
            group=shared.group("registry"),
            commands=shared.name(TopicName.REGISTRY_COMMANDS),
            feed=shared.feed,
            registry=shared.name(TopicName.REGISTRY),
            replies=shared.name(TopicName.REGISTRY_REPLIES),
            audit=shared.name(TopicName.AUDIT),
            client_id="hookstream-registry",
            session_s=settings.session_timeout,
            instance=settings.instance_id,
        )

    return RegistryRole(
        store=store,
        clock=shared.clock,
        meter=shared.meter,
        profiles=PROFILES,
        url_problem=lambda url: check_url(url, shared.egress),
        schema_problem=schema_problem,
        secret_problem=lambda endpoint, now_ms: (
            newest_secret_problem(endpoint, keyring.open) or secret_problem(endpoint, keyring.open, now_ms)
        ),
        keeper=AesSubjectKeeper(keyring),
        most=TenantLimits(
            endpoints=settings.max_endpoints_per_tenant,
            keys=settings.max_keys_per_tenant,
            event_types=settings.max_event_types_per_tenant,
        ),
    )
