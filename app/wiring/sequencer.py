"""Build the sequencer role on Faust."""

from __future__ import annotations

from app.adapters.faust.stream import FaustStream
from app.adapters.kafka.producer import KafkaLog
from app.core.table_recovery import TRUSTED_S, Recovery
from app.core.topics.declarations import Topics
from app.core.topics.names import Names
from app.ports.clock import Clock
from app.ports.metrics import Meter
from app.ports.registry import DirectoryFeed
from app.roles.sequencer.role.worker import SequencerRole
from app.roles.sequencer.table_versions import later_line
from app.settings import Settings


def sequencer_role(
    settings: Settings, bootstrap: str, topics: Topics, group: str, log: KafkaLog, feed: DirectoryFeed, meter: Meter,
    clock: Clock,
) -> SequencerRole:  # fmt: skip
    """A fresh role; each run of it has a Faust app of its own."""
    source = topics.name(Names.DELIVERIES_ORDERED)

    def stream() -> FaustStream:
        return FaustStream(
            group=group, bootstrap=bootstrap, source_topic=source, partitions=log.partitions(source),
            data_dir=str(settings.data_dir / "lines"), store=settings.table_store, client_id="hookstream-sequencer",
            agent="sequencer", tables={"line": None, "held": None}, session_s=settings.session_timeout,
            instance=settings.instance_id,
            recovery={"line": Recovery(later_line, TRUSTED_S)},
        )  # fmt: skip

    return SequencerRole(
        app=stream, log_=log, feed=feed, meter=meter, deliveries=topics.name(Names.DELIVERIES),
        ordered=source, dead=topics.name(Names.DELIVERIES_DEAD), clock=clock, max_record_bytes=topics.max_record_bytes,
    )  # fmt: skip
