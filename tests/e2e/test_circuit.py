"""An endpoint stops answering: its circuit opens; what waits is delivered when it is back, or ends with a reason."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from secrets import token_hex
from typing import Any

from tests.conftest import RealBroker
from tests.e2e.harness import Service, inbox, service
from tests.e2e.test_delivery_monitoring import Customer

EVENTS = 40


async def customer(running: Service) -> Customer:
    return Customer(running, await running.key(f"acme-{token_hex(4)}", profile="standard"))


async def test_an_endpoint_that_is_silent_is_probed_and_gets_everything_when_it_answers_again(shared: Service) -> None:
    acme = await customer(shared)
    async with inbox("hang*7,ok") as (box, base):
        endpoint = await acme.endpoint(
            f"{base}/standard", timeout=2, max_in_flight=2, schedule=[0, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5]
        )
        sent = {await acme.event(number) for number in range(EVENTS)}
        shown: dict[str, Any] = await acme.until(
            f"/v1/webhooks/{endpoint}", lambda body: body["circuit"]["state"] != "closed"
        )
        assert shown["circuit"]["since"] and shown["circuit"]["next_probe_at"]
        assert shown["version"] == 1, "this is no change of its settings"
        assert 'hookstream_circuit_transitions_total{to="open"}' in await shared.metrics()
        await box.until(lambda: len(set(box.ids())) == EVENTS and len(box.received) >= EVENTS + 7)
        shown = await acme.until(f"/v1/webhooks/{endpoint}", lambda body: body["circuit"]["state"] == "closed")
        assert (shown["circuit"]["since"], shown["circuit"]["next_probe_at"]) == (None, None)
        for event in sent:
            await acme.delivery(event, "delivered")


async def test_deliveries_not_attempted_in_time_are_dead_and_can_be_retried(
    broker: RealBroker, prefix: str, tmp_path: Path
) -> None:
    settings = {"HOOKSTREAM_MAX_WAIT_HOURS": "0.002"}
    async with service(broker.bootstrap, prefix, tmp_path, settings) as running, inbox("hang") as (_, hanging):
        acme = await customer(running)
        endpoint = await acme.endpoint(f"{hanging}/standard", timeout=2, max_in_flight=1, schedule=[0])
        for number in range(EVENTS):
            await acme.event(number)
        page = await acme.until(
            f"/v1/deliveries?endpoint={endpoint}&state=dead&limit=100", lambda body: len(body["data"]) == EVENTS
        )
        reasons = Counter(each["reason"] for each in page["data"])
        assert reasons["overloaded"] > EVENTS / 2 and reasons.keys() <= {"overloaded", "exhausted"}
        one = next(each for each in page["data"] if each["reason"] == "overloaded")
        assert one["attempt_count"] == 0 and "it waited since" in one["error"]
        async with inbox() as (box, base):
            # more at once than before: on a slow machine they would not all be sent before they have waited too long
            change = {"url": f"{base}/standard", "max_in_flight": EVENTS}
            patched = await running.ask("PATCH", f"/v1/webhooks/{endpoint}", change, key=acme.key)
            assert patched.status == 200 and patched.body["circuit"]["state"] == "closed"
            await acme.post("/v1/deliveries/retry", {"endpoint": endpoint})
            await box.until(lambda: len(set(box.ids())) == EVENTS)
