"""The embedded broker: records survive every end, nothing is left behind, and every refusal says the way on."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from app.core.errors import Defect, Unavailable
from app.embedded.broker import jars
from app.embedded.broker.broker import EmbeddedBroker
from tests.conftest import JAR_CACHE, RealBroker
from tests.patience import PATIENCE_S

TOPIC = "kept"


def embedded(data_dir: Path, port: int = 0) -> EmbeddedBroker:
    return EmbeddedBroker(data_dir=data_dir, port=port, cache_dir=JAR_CACHE)


async def create(bootstrap: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, 1, 1)])
    finally:
        await admin.close()


async def append(bootstrap: str, topic: str, *values: bytes) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
        for value in values:
            await producer.send_and_wait(topic, value)


async def read(bootstrap: str, topic: str, number: int) -> list[bytes | None]:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, 0)])
        return [(await consumer.getone()).value for _ in range(number)]
    finally:
        await consumer.stop()


def gone(pid: int) -> bool:
    """Wait for the end of a process that is nobody's child here."""
    try:
        psutil.Process(pid).wait(PATIENCE_S)
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired:
        return False
    return True


async def test_records_and_port_outlast_stop_and_start(tmp_path: Path) -> None:
    broker = embedded(tmp_path)
    first = await broker.start()
    await create(first, TOPIC)
    await append(first, TOPIC, b"before")
    await broker.stop()
    await broker.stop()
    assert broker.pid is None

    again = embedded(tmp_path)
    assert await again.start() == first
    try:
        await append(first, TOPIC, b"after")
        assert await read(first, TOPIC, 2) == [b"before", b"after"]
    finally:
        await again.stop()


async def test_a_killed_broker_comes_back_on_its_port_with_every_acknowledged_record(own_broker: RealBroker) -> None:
    await create(own_broker.bootstrap, TOPIC)
    await append(own_broker.bootstrap, TOPIC, b"1", b"2", b"3")
    assert own_broker.own
    ended = asyncio.ensure_future(own_broker.own.wait_exited())
    own_broker.kill()
    assert await ended == -signal.SIGKILL
    assert own_broker.own.pid is None
    assert await own_broker.own.start() == own_broker.bootstrap
    await append(own_broker.bootstrap, TOPIC, b"4")
    assert await read(own_broker.bootstrap, TOPIC, 4) == [b"1", b"2", b"3", b"4"]


async def test_a_cancelled_watch_leaves_the_broker_and_other_watches_alone(own_broker: RealBroker) -> None:
    assert own_broker.own
    given_up = asyncio.ensure_future(own_broker.own.wait_exited())
    kept = asyncio.ensure_future(own_broker.own.wait_exited())
    await create(own_broker.bootstrap, TOPIC)
    given_up.cancel()
    await own_broker.restart()
    assert await kept == 143  # Java's word for SIGTERM
    await append(own_broker.bootstrap, TOPIC, b"1")


async def test_java_and_its_guard_follow_a_killed_parent_and_the_next_start_waits_for_that(tmp_path: Path) -> None:
    script = (
        "import asyncio, sys; from pathlib import Path; from app.embedded.broker.broker import EmbeddedBroker\n"
        "async def main():\n"
        "    broker = EmbeddedBroker(data_dir=Path(sys.argv[1]), cache_dir=Path(sys.argv[2]))\n"
        "    print(await broker.start(), broker.pid, flush=True)\n"
        "    await broker.wait_exited()\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, str(tmp_path), str(JAR_CACHE), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout
    bootstrap, java = (await parent.stdout.readline()).decode().split()
    family = [int(java), *(child.pid for child in psutil.Process(parent.pid).children())]
    assert len(set(family)) == 2  # Java and its guard

    parent.kill()
    await parent.wait()
    successor = embedded(tmp_path)
    try:
        assert await successor.start() == bootstrap
        assert all(gone(pid) for pid in family)
    finally:
        await successor.stop()
        for pid in family:
            if psutil.pid_exists(pid):
                os.kill(pid, signal.SIGKILL)


async def test_a_folder_in_use_causes_an_error_and_its_user_continues(own_broker: RealBroker, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=rf"in use by process {os.getpid()}"):
        await embedded(tmp_path).start()
    await create(own_broker.bootstrap, TOPIC)


async def test_a_stale_lock_with_the_id_of_another_process_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "kafka").mkdir()
    (tmp_path / "kafka" / "lock").write_text(str(os.getppid()))
    broker = embedded(tmp_path)
    await broker.start()
    await broker.stop()


@pytest.mark.parametrize("found", ["records", "records.new"])
async def test_a_half_formatted_folder_is_formatted_again(tmp_path: Path, found: str) -> None:
    half = tmp_path / "kafka" / found
    half.mkdir(parents=True)
    (half / "bootstrap.checkpoint").write_bytes(b"half")
    (half / "meta.properties").write_text("version=1\n")
    broker = embedded(tmp_path)
    await create(await broker.start(), TOPIC)
    await broker.stop()


async def test_records_without_their_identity_are_not_deleted(tmp_path: Path) -> None:
    records = tmp_path / "kafka" / "records" / "events.raw-0"
    records.mkdir(parents=True)
    with pytest.raises(Unavailable, match=r"no valid meta\.properties"):
        await embedded(tmp_path).start()
    assert records.is_dir()


async def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(Unavailable, match=rf"Port {port} .* is taken"):
            await embedded(tmp_path, port).start()


async def test_a_remembered_port_that_is_taken_is_replaced(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        (tmp_path / "kafka").mkdir()
        (tmp_path / "kafka" / "port").write_text(str(taken))
        broker = embedded(tmp_path)
        bootstrap = await broker.start()
        await broker.stop()
    assert bootstrap == f"127.0.0.1:{(tmp_path / 'kafka' / 'port').read_text()}"
    assert not bootstrap.endswith(f":{taken}")


async def test_a_failed_start_of_the_broker_has_a_reason_and_releases_the_folder(tmp_path: Path) -> None:
    broker = embedded(tmp_path)
    await broker.start()
    await broker.stop()
    identity = tmp_path / "kafka" / "records" / "meta.properties"
    whole = identity.read_text()
    identity.write_text(whole.replace("node.id=1", "node.id=7"))
    with pytest.raises(Unavailable, match=r"(?s)ended with status 1 .*Stored node id 7"):
        await broker.start()
    identity.write_text(whole)
    await broker.start()
    await broker.stop()


async def test_a_folder_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match=r"cannot use .*/file/kafka"):
        await embedded(tmp_path / "file").start()


async def test_waiting_for_the_end_of_nothing_is_a_defect(tmp_path: Path) -> None:
    with pytest.raises(Defect):
        await embedded(tmp_path).wait_exited()


@pytest.mark.parametrize("missing", ["java", "mvn"])
async def test_a_missing_tool_is_named_with_three_ways_on(tmp_path: Path, missing: str) -> None:
    def which(name: str) -> str | None:
        return None if name == missing else shutil.which(name)

    broker = EmbeddedBroker(data_dir=tmp_path, cache_dir=tmp_path / "empty", which=which)
    with pytest.raises(Unavailable) as caught:
        await broker.start()
    for way_on in ("apt-get install", "docker compose up", "apache/kafka:4.3.1", "HOOKSTREAM_BOOTSTRAP_SERVERS="):
        assert way_on in str(caught.value)


async def test_maven_is_not_needed_once_the_jars_are_there(tmp_path: Path) -> None:
    await jars.resolve(JAR_CACHE, say=print, which=shutil.which)
    found = await jars.resolve(JAR_CACHE, say=print, which=lambda _: None)
    assert f"kafka_2.13-{jars.KAFKA_VERSION}.jar" in {jar.name for jar in found}


def program(folder: Path, name: str, body: str) -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("version", ["1.8.0_402", "11.0.22", "16"])
async def test_an_old_java_is_refused(tmp_path: Path, version: str) -> None:
    old = program(tmp_path, "java", f"echo 'openjdk version \"{version}\" 2024-01-16' >&2")
    with pytest.raises(Unavailable, match=rf"needs Java 17 or later.*{version}"):
        await jars.find_java(lambda _: old)


async def test_a_partial_download_is_not_used(tmp_path: Path) -> None:
    folder = (
        'for word; do case $word in -DoutputDirectory=*) out=${word#*=};; esac; done; mkdir -p "$out"; : > "$out/a.jar"'
    )
    cut_off = program(tmp_path, "cut-off", f"{folder}; echo 'no space left'; exit 1")
    whole = program(tmp_path, "whole", f'{folder}; : > "$out/b.jar"')
    cache = tmp_path / "cache"
    with pytest.raises(Unavailable, match="no space left"):
        await jars.resolve(cache, say=print, which=lambda _: cut_off)
    found = await asyncio.gather(*(jars.resolve(cache, say=print, which=lambda _: whole) for _ in range(3)))
    assert [[jar.name for jar in one] for one in found] == [["a.jar", "b.jar"]] * 3


async def test_kafkas_own_tools_run_from_the_jars(broker: RealBroker, prefix: str) -> None:
    await create(broker.bootstrap, f"{prefix}{TOPIC}")
    await append(broker.bootstrap, f"{prefix}{TOPIC}", b"1", b"2")
    consumer = AIOKafkaConsumer(
        f"{prefix}{TOPIC}", bootstrap_servers=broker.bootstrap, group_id=f"{prefix}group", auto_offset_reset="earliest"
    )
    async with consumer:
        await consumer.getone()
        await consumer.getone()
        await consumer.commit()
    classes = ":".join(map(str, await jars.resolve(JAR_CACHE, say=print, which=shutil.which)))
    tool = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
    reset = ["--reset-offsets", "--to-earliest", "--all-topics", "--execute"]
    said = await asyncio.to_thread(
        subprocess.check_output,
        ["java", "-cp", classes, tool, "--bootstrap-server", broker.bootstrap, "--group", f"{prefix}group", *reset],
        text=True,
    )
    assert said.split()[-4:] == [f"{prefix}group", f"{prefix}{TOPIC}", "0", "0"]
