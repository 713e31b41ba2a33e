"""410 Gone: what each profile does is what README.md and docs/health.md say."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.core.model.endpoint import Endpoint
from app.core.model.http_exchange import HttpReply, HttpTiming
from app.core.records.signal import HealthSignal
from app.profiles.catalog import PROFILES
from app.profiles.policy import RetryPolicy
from app.roles.dispatch.verdict import Dead, RetryAt, judge
from app.roles.health.transitions import DisableEndpoint, observe

_ROOT = Path(__file__).parents[2]


def _row(path: str, begin: str) -> str:
    text = (_ROOT / path).read_text(encoding="utf-8")
    return next(line for line in text.splitlines() if line.startswith(begin))


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_410_ends_the_delivery_and_disables_the_endpoint_or_does_neither(name: str) -> None:
    rule = PROFILES[name].disable
    policy = RetryPolicy(schedule_s=(0.0, 5.0), gone_410=rule.gone_410)
    verdict = judge(
        HttpReply(status=410, headers=(), body=b"", truncated=False, timing=HttpTiming()),
        attempt=1,
        policy=policy,
        now_ms=0,
        dice=0.0,
    )
    endpoint = Endpoint(id="ep_1", tenant="acme", mode="live", url="https://x.example/", events=("*",), profile=name)
    dead = verdict.reason if isinstance(verdict, Dead) else None
    signal = HealthSignal(
        outcome="failed", epoch=endpoint.epoch, delivery_id="d", result="http_4xx", status=410, dead=dead
    )
    _, emitted = observe(None, endpoint, rule, signal, 1, 1_000)
    disables = emitted is not None and any(isinstance(order, DisableEndpoint) for order in emitted.actions)
    assert isinstance(verdict, Dead if rule.gone_410 else RetryAt) and disables == rule.gone_410

    readme = _row("README.md", "| answers 410 |")
    assert (f"`{name}`" in readme) == rule.gone_410 and "the endpoint is disabled" in readme
    health = [cell.strip() for cell in _row("docs/health.md", f"| `{name}` |").split("|")]
    assert health[-2] == ("at once" if rule.gone_410 else "a failure like any other")
