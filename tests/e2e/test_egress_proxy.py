"""Deliveries through a real proxy, which goes away and comes back."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

from tests.conftest import RealBroker
from tests.e2e.harness import inbox, pause, service
from tests.patience import LOOKS
from tests.real_proxy import real_proxy


async def test_a_proxy_that_goes_away_costs_no_attempt(broker: RealBroker, prefix: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(AsyncExitStack())
        port = await proxy.enter_async_context(real_proxy("--basic-auth", "user:p@ss"))
        settings = {"HOOKSTREAM_EGRESS_PROXY": f"http://user:p%40ss@127.0.0.1:{port}", "NO_PROXY": "other.example"}
        running = await stack.enter_async_context(service(broker.bootstrap, prefix, tmp_path, settings))
        box, base = await stack.enter_async_context(inbox())
        key = await running.key("acme")
        made = await running.ask("POST", "/v1/webhooks", {"url": f"{base}/standard", "events": ["*"]}, key=key)
        assert made.status == 201, made
        sent = await running.ask("POST", "/v1/events", {"type": "a.b", "id": "through", "data": {}}, key=key)
        assert sent.status == 202, sent
        await box.until(lambda: box.ids() == ["through"])
        assert 'dependency_up{dependency="egress_proxy"} 1.0' in await running.metrics()

        await proxy.aclose()
        await running.ask("POST", "/v1/events", {"type": "a.b", "id": "later", "data": {}}, key=key)
        for _ in range(LOOKS):
            if 'hindrances_total{cause="proxy"}' in await running.metrics():
                break
            await pause(0.1)
        assert 'dependency_up{dependency="egress_proxy"} 0.0' in await running.metrics()
        assert box.ids() == ["through"]

        await stack.enter_async_context(real_proxy("--basic-auth", "user:p@ss", port=port))
        await box.until(lambda: "later" in box.ids())
        later = next(each for each in box.received if each.event_id == "later")
        assert later.headers["webhook-attempt"] == "1", "an attempt that the proxy prevented counts for nothing"
