"""The commands of the production guide, as they are printed, against a Kafka with TLS, SASL and access lists."""

from __future__ import annotations

import asyncio
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.conftest import JAR_CACHE, apart
from tests.contracts.dns_server import NameServer
from tests.e2e.harness import HOOKSTREAM, inbox
from tests.patience import PATIENCE_S
from tests.ports import free_port
from tests.postgres import Postgres
from tests.secure_broker import SecureBroker

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "docs" / "deploy"
_BLOCK = re.compile(r"^( *)```\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
#: Kafka's programs, which its distribution has as scripts
_TOOLS = {
    "kafka-acls.sh": "org.apache.kafka.tools.AclCommand",
    "kafka-configs.sh": "kafka.admin.ConfigCommand",
    "kafka-topics.sh": "org.apache.kafka.tools.TopicCommand",
}
_ADMIN = """\
security.protocol=SASL_SSL
ssl.truststore.type=PEM
ssl.truststore.location={authority}
sasl.mechanism=PLAIN
sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required username=plain password=plain-secret;
"""
#: the command; on a busy machine Kafka's answer may take longer than a command waits for it
_HOOKSTREAM = """\
#!/bin/bash
input=/dev/null
[ "${{@: -1}}" = - ] && input=$(mktemp -p .) && cat >$input
for round in 1 2 3 4 5 6 7 8; do
    PYTHONPATH={repository} {command} "$@" <$input && exit
    code=$?
    [ $code = 4 ] || [ "$*" = doctor ] || break
done
exit $code
"""
_END = """
end() { kill $service; wait $service; }
trap end EXIT
"""
_UNTIL_DELIVERED = """
until hookstream deliveries list --tenant acme -o json | grep -q delivered; do sleep 0.2; done
"""


@pytest.fixture
def company(tmp_path: Path) -> Iterator[SecureBroker]:
    """A company's Kafka: its administrator logs in, others have neither user nor right."""
    broker = SecureBroker(tmp_path / "broker", JAR_CACHE)
    try:
        apart(broker.own.start())
        (tmp_path / "admin.properties").write_text(_ADMIN.format(authority=broker.authority.ca_file), "utf-8")
        (tmp_path / "kafka-ca.pem").write_bytes(broker.authority.ca_file.read_bytes())
        yield broker
    finally:
        apart(broker.own.stop())


def blocks(document: str, heading: str) -> list[str]:
    """The commands of a section, block by block."""
    text = (DEPLOY / document).read_text("utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return [re.sub(rf"^{indent}", "", block, flags=re.MULTILINE) for indent, block in _BLOCK.findall(text)]


def the_unit() -> str:
    """What systemd does for `hookstream@all`: its environment, and its command in the background."""
    unit = (DEPLOY / "hookstream@.service").read_text("utf-8")
    (command,) = re.findall(r"^ExecStart=(.+)$", unit, re.MULTILINE)
    environment = re.findall(r"^Environment=(.+)$", unit, re.MULTILINE)
    command = command.replace("/opt/hookstream/bin/hookstream", "hookstream-service")
    return f"env {' '.join(environment)} {command} >service.log 2>&1 &\nservice=$!{_END}".replace("%i", "all")


def script() -> str:
    """All blocks in their order, except that systemd and the build of the wheel are replaced by their results."""
    lines = []
    for block in blocks("README.md", "Step by step") + blocks("recovery.md", "Practise a restore"):
        if "hookstream-build" in block:
            continue
        lines.append(the_unit() if "systemctl" in block else block)
        if "events send" in block:
            lines.append(_UNTIL_DELIVERED)
        if "hookstream doctor registry" in block:
            lines[-1] = block.replace("hookstream doctor registry", "! hookstream doctor registry")  # nothing runs
    return "set -eu -o pipefail\n" + "\n".join(lines)


def executable(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


def a_machine(folder: Path) -> dict[str, str]:
    """Programs in `folder`/bin, and folders of the system with the path that stands for each in the test."""
    (folder / "bin").mkdir()
    text = _HOOKSTREAM.format(repository=ROOT, command=HOOKSTREAM)
    executable(folder / "bin" / "hookstream", text)
    executable(folder / "bin" / "hookstream-service", f'#!/bin/sh\nPYTHONPATH={ROOT} exec {HOOKSTREAM} "$@"\n')
    (jars,) = JAR_CACHE.glob("jars-*")
    java = ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", f"{jars}/*"]
    for name, program in _TOOLS.items():
        executable(folder / "bin" / name, f'#!/bin/sh\nexec {shlex.join([*java, program])} "$@"\n')
    return {name: f"{folder}{name}" for name in ("/etc/hookstream", "/var/backups/hookstream", "/var/lib/hookstream")}


async def run(text: str, folder: Path, settings: Mapping[str, str]) -> str:
    """What bash prints while it runs the script, in `folder`."""
    process = await asyncio.create_subprocess_exec(
        "bash", "-x", "-c", text,
        cwd=folder,
        env={"PATH": f"{folder / 'bin'}:{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(folder), **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        out, _ = await asyncio.wait_for(process.communicate(), 3 * PATIENCE_S)
    except TimeoutError:
        process.terminate()  # bash then ends the service
        out, _ = await process.communicate()
        pytest.fail(out.decode())
    log = folder / "service.log"
    assert process.returncode == 0, out.decode() + (log.read_text("utf-8")[-4000:] if log.exists() else "")
    return out.decode()


async def test_the_guide_leads_to_a_delivery(company: SecureBroker, postgres: Postgres, tmp_path: Path) -> None:
    api, metrics = free_port(), free_port()
    async with NameServer({}) as names, inbox() as (box, receiver):
        values = a_machine(tmp_path) | {
            "/opt/hookstream/bin": str(tmp_path / "bin"),
            "kafka-1:9092,kafka-2:9092,kafka-3:9092": company.address("sasl_ssl"),
            "postgresql://hookstream:password@db:5432/hookstream": await postgres.database(),
            "https://hooks.example.com": f"http://127.0.0.1:{api}",
            "https://receiver.example.com/webhooks": f"{receiver}/standard",
            "localhost:9400": f"localhost:{metrics}",
            "PARTITIONS=12": "PARTITIONS=2",
            "REPLICATION_FACTOR=3": "REPLICATION_FACTOR=1",
            "%H": "test",
        }
        text = script()
        for printed, here in values.items():
            assert printed in text, f"the guide no longer has {printed}"
            text = text.replace(printed, here)
        settings = {
            "HOOKSTREAM_API_PORT": str(api),
            "HOOKSTREAM_METRICS_PORT": str(metrics),
            "HOOKSTREAM_ALLOW_HTTP": "true",
            "HOOKSTREAM_EGRESS_ALLOW": "127.0.0.0/8",
            "HOOKSTREAM_DNS_SERVERS": names.address,
        }
        (tmp_path / "etc").mkdir()
        (tmp_path / "var" / "backups").mkdir(parents=True)
        printed = await run(text, tmp_path, settings)
        assert "sk_live_" in printed and "whsec_" in printed
        assert {each.event_type for each in box.received} == {"order.paid"}
        assert "drill.registry" in printed, "the backup was restored"
