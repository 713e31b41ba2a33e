"""One line when a dependency goes, one when it comes back, and the truth in between."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from app.adapters.dependencies import Dependencies
from app.adapters.mail.smtp import SmtpMailer
from app.adapters.sql.database import Database
from app.adapters.sql.projection_store import SqlProjectionStore
from app.adapters.sql.read_store import SqlReadStore
from app.adapters.telemetry.metrics import PrometheusMeter
from app.core.email import read_smtp_url
from app.core.errors import Defect, Unavailable
from tests.contracts.mail_kit import Postbox, running
from tests.contracts.test_smtp import MAIL
from tests.fakes.clock import FakeClock


def test_only_changes_are_logged_and_the_gauges_follow() -> None:
    clock, meter = FakeClock(), PrometheusMeter()
    dependencies = Dependencies(clock, meter)
    kafka = dependencies.of("kafka")
    assert dependencies.states() == {}
    assert "hookstream_kafka_up 1.0" not in meter.exposition().decode()
    with capture_logs() as lines:
        kafka.up()
        kafka.up()
        assert lines == []
        kafka.down("no\nanswer")
        kafka.down("still no answer")
        assert [line["event"] for line in lines] == ["dependency.down"]
        assert lines[0]["reason"] == "no answer" and lines[0]["dependency"] == "kafka"
    assert kafka.trouble == "still no answer"
    assert dependencies.states() == {"kafka": "still no answer"}
    assert "hookstream_kafka_up 0.0" in meter.exposition().decode()
    with capture_logs() as lines:
        kafka.up()
        kafka.up()
        assert [line["event"] for line in lines] == ["dependency.up"]
    assert kafka.trouble is None
    exposed = meter.exposition().decode()
    assert "hookstream_kafka_up 1.0" in exposed and 'hookstream_dependency_up{dependency="kafka"} 1.0' in exposed


def test_a_dependency_that_never_answered_is_down() -> None:
    dependencies = Dependencies(FakeClock(), PrometheusMeter())
    with capture_logs() as lines:
        dependencies.of("mail_server").down("refused")
    assert [line["event"] for line in lines] == ["dependency.down"]
    with pytest.raises(Defect):
        dependencies.of("weather")


async def test_the_mail_server_is_down_on_failures_and_up_on_a_refused_address() -> None:
    status = Dependencies(FakeClock(), PrometheusMeter()).of("mail_server")
    box = Postbox()
    async with running(box) as port:
        mailer = SmtpMailer(read_smtp_url(f"smtp://127.0.0.1:{port}"), "a@b.example", FakeClock(), status=status)
        assert (await mailer.send(MAIL)).result == "sent"
        assert status.state == "up"
    assert (await mailer.send(MAIL)).result == "later"
    assert status.trouble is not None and f"127.0.0.1:{port}" in status.trouble


async def test_the_database_is_down_when_it_cannot_be_used(tmp_path: Path) -> None:
    dependencies = Dependencies(FakeClock(), PrometheusMeter())
    far = Database("postgresql://nobody@127.0.0.1:1/none", tmp_path, status=dependencies.of("database_reads"))
    with pytest.raises(Unavailable):
        await SqlReadStore(far).updated_at_ms()
    assert "127.0.0.1:1/none" in (dependencies.of("database_reads").trouble or "")
    await far.close()
    near = Database(None, tmp_path, status=dependencies.of("database"))
    store = SqlProjectionStore(near)
    await store.prepare()
    await store.close()
    assert dependencies.states()["database"] == "up"
