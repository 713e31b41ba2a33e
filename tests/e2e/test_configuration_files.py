"""Configuration as files against a running service: a move from Svix, an interruption, an export."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest
import svix

from tests.cli.configuration import svix_export
from tests.e2e.harness import ADMIN_TOKEN, HOOKSTREAM, Service, inbox
from tests.faults.proxy import Proxy
from tests.patience import PATIENCE_S
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
#: endpoints of an interrupted run: eight at a time take at least a minute behind a slow proxy
COUNT = 1_000


class Operator:
    """Commands with the operator's token."""

    def __init__(self, service: Service, folder: Path) -> None:
        self.service = service
        self.folder = folder
        (folder / "operator.key").write_text(ADMIN_TOKEN)

    async def start(self, *words: str, url: str = "") -> asyncio.subprocess.Process:
        address = ("--url", url or self.service.api_url, "--key-file", str(self.folder / "operator.key"))
        return await asyncio.create_subprocess_exec(
            HOOKSTREAM,
            *words,
            *(address if words[0] != "import" else ()),
            env={"PATH": "/usr/bin:/bin", "HOME": str(self.folder), "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    async def __call__(self, *words: str, expect: int = 0) -> str:
        process = await self.start(*words)
        out, err = await asyncio.wait_for(process.communicate(), PATIENCE_S)
        assert process.returncode == expect, (out.decode()[-2000:], err.decode()[-2000:])
        return out.decode()

    async def endpoints(self, tenant: str) -> list[dict[str, Any]]:
        text = await self("export", "--tenant", tenant)
        import yaml

        documents = [each for each in yaml.safe_load_all(text) if each]
        return [each for document in documents for each in document["tenants"][0].get("live", {}).get("endpoints", [])]


@pytest.fixture
def operator(shared: Service, tmp_path: Path) -> Operator:
    return Operator(shared, tmp_path)


async def test_a_thousand_endpoints_move_from_svix(shared: Service, operator: Operator) -> None:
    tenant = f"acme-{token_hex(4)}"
    async with inbox() as (box, base):
        first = svix_export.endpoint(
            1, uid="shop", url=f"{base}/recall/moved", eventTypes=["order.paid"], disabled=False
        )
        rest = [svix_export.endpoint(number) for number in range(2, 1001)]
        export = operator.folder / "svix.json"
        export.write_text(json.dumps(svix_export.page([first, *rest])))
        files = str(operator.folder / "files")
        out = await operator("import", "svix", str(export), "--tenant", tenant, "--to", files)
        assert out.startswith("1000 of 1000 endpoints carried over")
        assert "1001 to create" in await operator("apply", "-f", files, "--dry-run", expect=2)
        assert "1001 changes made." in await operator("apply", "-f", files)
        assert (await operator("apply", "-f", files, "--prune")).startswith("Nothing to change")
        key = await shared.key(tenant)
        sent = await shared.ask("POST", "/v1/events", {"type": "order.paid", "data": {"total": 5}}, key=key)
        await box.until(lambda: any(each.path == "/recall/moved" for each in box.received))
        request = next(each for each in box.received if each.path == "/recall/moved")
        assert (request.headers["svix-id"], json.loads(request.body)) == (sent.body["id"], {"total": 5})
        svix.Webhook(first["secret"]["key"]).verify(request.body, dict(request.headers))


async def test_an_interrupted_run_is_continued(shared: Service, operator: Operator) -> None:
    tenant = f"acme-{token_hex(4)}"
    endpoints = [{"uid": f"e{number}", "url": f"https://e{number}.example", "events": "*"} for number in range(COUNT)]
    file = operator.folder / "many.json"
    file.write_text(json.dumps({"tenants": [{"id": tenant, "live": {"endpoints": endpoints}}]}))
    key = await shared.key(tenant)
    proxy = Proxy("127.0.0.1", port := free_port(), int(shared.api_url.rpartition(":")[2]))
    proxy.delay_s = 0.1  # however fast the machine is, the command is still busy when the signal comes
    await proxy.start()
    try:
        process = await operator.start("apply", "-f", str(file), url=f"http://127.0.0.1:{port}")
        async with asyncio.timeout(PATIENCE_S):
            while not (await shared.ask("GET", "/v1/webhooks", key=key)).body["data"]:
                await asyncio.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, err = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    finally:
        await proxy.stop()
    assert process.returncode == 130 and "were not tried. The same command continues" in err.decode(), err.decode()
    assert "0 failed" in err.decode()
    begun = await operator.endpoints(tenant)
    assert 0 < len(begun) < COUNT
    done = await operator("apply", "-f", str(file))
    assert f"{COUNT - len(begun)} to create, 0 to change, 0 to delete" in done
    assert sorted(each["uid"] for each in await operator.endpoints(tenant)) == sorted(each["uid"] for each in endpoints)


async def test_an_export_recreates_a_tenant(shared: Service, operator: Operator) -> None:
    source, copy = f"a-{token_hex(4)}", f"b-{token_hex(4)}"
    file = operator.folder / "a.yaml"
    file.write_text(
        f"tenants:\n- id: {source}\n  name: Source\n  live:\n    event_types: [{{name: a.b, description: x}}]\n"
        "    endpoints:\n"
        "    - {uid: x, url: https://x.example, events: [a.b], ordering: fifo, filter: {data: {n: 1}}}\n"
        "  test:\n    endpoints: [{uid: x, url: https://t.example, events: '*', active: false}]\n"
    )
    await operator("apply", "-f", str(file))
    text = await operator("export", "--tenant", source)
    file.write_text(text.replace(source, copy))
    await operator("apply", "-f", str(file))
    assert (await operator("export", "--tenant", copy)).replace(copy, source) == text
    assert "ordering: fifo" in text and "active: false" in text
