"""With tracing off nothing of it runs: no import of OpenTelemetry, no call and no object for an event."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

from app.roles.dispatch.role.delivery_sender import DeliverySender
from app.roles.fanout.plan import BatchPlan, BatchPlanner
from app.roles.fanout.role import FanoutRole
from tests.fakes.tracer import MemoryTracer
from tests.roles.dispatch.dispatch_stage import Stage as DispatchStage
from tests.roles.fanout.test_role import Stage as FanoutStage
from tests.roles.fanout.test_role import event

ROOT = Path(__file__).parents[2]
_IMPORTS = """
import sys
import app.cli.main, app.cli.serving.role_process, app.cli.serving.up_process
import app.runtime.process, app.runtime.build.api
from app.runtime.build.tracing import tracer_of
from app.settings import Settings
assert tracer_of(Settings()) is None
print([name for name in sys.modules if name.partition(".")[0] in ("opentelemetry", "google", "requests")])
"""


class _Calls:
    """Counts the calls into the files of tracing."""

    def __init__(self) -> None:
        self.made: Counter[str] = Counter()

    def __enter__(self) -> Counter[str]:
        sys.setprofile(self._look)
        return self.made

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _look(self, frame: FrameType, kind: str, _argument: Any) -> None:
        file = frame.f_code.co_filename
        if kind == "call" and any(part in file for part in ("/tracing", "traced_", "/spans.py", "/opentelemetry/")):
            self.made[f"{Path(file).name}:{frame.f_code.co_name}"] += 1


def test_nothing_of_open_telemetry_is_imported() -> None:
    done = subprocess.run([sys.executable, "-c", _IMPORTS], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def _events(number: int, tracer: MemoryTracer | None) -> Counter[str]:
    """The calls into tracing while that many events pass fan-out and dispatch."""
    calls, fanout, dispatch = _Calls(), FanoutStage(tracer=tracer), DispatchStage(tracer=tracer)
    dispatch.endpoint("a")
    fanout.start()
    await dispatch.start()
    with calls as made:
        await fanout.app.acked(fanout.give(*(event(each) for each in range(number))))
        for each in range(number):
            dispatch.put("a", event=f"e{each}", traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        await dispatch.attempts(number)
    await fanout.stop()
    await dispatch.stop()
    return made


async def test_no_event_costs_a_call_or_an_object() -> None:
    assert await _events(50, None) == Counter()


async def test_the_count_sees_what_tracing_does() -> None:
    made = await _events(50, MemoryTracer())
    assert made["spans.py:span_of"] == 50 and made["traced_plan.py:span_of"] == 50


def test_the_roles_are_the_plain_ones() -> None:
    dispatch, fanout = DispatchStage(), FanoutStage()
    assert type(dispatch.role._sender) is DeliverySender
    assert type(fanout.role) is FanoutRole and fanout.role._planner_class is BatchPlanner
    assert "events" not in BatchPlan.__struct_fields__
