"""Build a Faust app over topics that exist already."""

from __future__ import annotations

from importlib.metadata import version

from app.adapters.faust.app import BatchApp
from app.adapters.kafka.clients import KafkaClients
from app.core.diagnosis.kafka import worker_name


def build_app(
    *,
    group: str,
    clients: KafkaClients,
    source_topic: str,
    data_dir: str,
    store: str,
    client_id: str,
    session_s: float,
    instance: str | None = None,
) -> BatchApp:
    """A Faust app that leaves no setting to a default. docs/decisions explains the numbers."""
    return BatchApp(
        group,
        batched_topics=frozenset({source_topic}),
        **clients.faust_broker(),
        broker_client_id=worker_name(client_id, version("hookstream")),
        broker_session_timeout=session_s,
        consumer_group_instance_id=instance,
        broker_heartbeat_interval=min(2.0, session_s / 4),
        broker_request_timeout=90.0,
        broker_rebalance_timeout=60.0,
        broker_max_poll_interval=2_147_483.0,  # an idle spare worker must stay in the group
        broker_max_poll_records=1000,
        broker_commit_interval=1.0,
        broker_commit_every=1_000_000,  # counts single messages; ours are batches
        stream_wait_empty=True,
        stream_buffer_maxsize=64,  # batches
        stream_publish_on_commit=False,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=1024 * 1024,
        topic_allow_declare=False,
        topic_disable_leader=True,
        table_standby_replicas=0,
        producer_acks=-1,
        producer_request_timeout=30.0,
        store="rocksdb://" if store == "rocksdb" else "memory://",
        datadir=data_dir,
        web_enabled=False,
        worker_redirect_stdouts=False,
        autodiscover=False,
        loghandlers=[],
    )
