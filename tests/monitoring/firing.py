"""Series of a healthy service, and for each alert the change of them that raises it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

#: samples are a minute apart
INTERVAL = "1m"
_MANY = 480
POSTS = 'route="/v1/events",method="POST",instance="api"'


def flat(value: float, times: int = _MANY) -> str:
    """A gauge that stays."""
    return f"{value:g}+0x{times - 1}"


def rising(step: float, times: int = _MANY, begin: float = 0) -> str:
    """A counter that grows steadily."""
    return f"{begin:g}+{step:g}x{times - 1}"


def healthy() -> dict[str, str]:
    """What a healthy service of three processes shows, for eight hours."""
    series: dict[str, str] = {}
    for instance, roles in {
        "fanout": ["fanout"],
        "dispatch": ["dispatch", "delay"],
        "api": ["registry", "api"],
    }.items():
        of = f'instance="{instance}",job="hookstream"'
        series[f"hookstream_build_info{{{of}}}"] = flat(1)
        series[f"hookstream_kafka_up{{{of}}}"] = flat(1)
        series[f'hookstream_dependency_up{{{of},dependency="database"}}'] = flat(1)
        series[f"hookstream_event_loop_lag_seconds{{{of}}}"] = flat(0.001)
        series[f"process_open_fds{{{of}}}"] = flat(100)
        series[f"process_max_fds{{{of}}}"] = flat(20_000)
        series[f"process_start_time_seconds{{{of}}}"] = flat(1_700_000_000)
        series[f'hookstream_endpoints{{{of},state="active"}}'] = flat(20)
        for check in ("kafka", "topics", "directory", *roles):
            series[f'hookstream_ready{{{of},check="{check}"}}'] = flat(1)
    for role in ("fanout", "dispatch", "registry", "projection"):
        series[f'hookstream_consumer_lag_seconds{{group="hookstream.{role}",topic="t",instance="{role}"}}'] = flat(0.2)
        series[f'hookstream_rebalances_total{{role="{role}",instance="{role}"}}'] = flat(1)
    series |= {
        f'hookstream_http_server_request_duration_seconds_count{{{POSTS},code="202"}}': rising(600),
        f'hookstream_http_server_request_duration_seconds_bucket{{{POSTS},code="202",le="0.25"}}': rising(600),
        'hookstream_first_attempt_delay_seconds_count{instance="dispatch"}': rising(600),
        'hookstream_first_attempt_delay_seconds_bucket{instance="dispatch",le="5.0"}': rising(600),
        'hookstream_healthy_endpoint_deliveries_total{instance="dispatch",outcome="delivered"}': rising(600),
        'hookstream_deliveries_total{instance="dispatch",outcome="delivered"}': rising(600),
        'hookstream_attempts_total{instance="dispatch",result="ok",attempt="first"}': rising(600),
        'hookstream_attempts_total{instance="dispatch",result="timeout",attempt="first"}': rising(1),
        'hookstream_events_ingested_total{instance="fanout",result="accepted"}': rising(600),
        'hookstream_circuits_open{instance="dispatch"}': flat(0),
        'hookstream_attempts_in_flight{instance="dispatch"}': flat(10),
        'hookstream_attempts_in_flight_limit{instance="dispatch"}': flat(1024),
        'hookstream_retry_oldest_due_age_seconds{instance="dispatch",rung="5s"}': flat(0.5),
    }
    return series


class Firing(NamedTuple):
    """How an alert is raised: the series that are different, and when to look."""

    alert: str
    severity: str
    #: None: the series ends before that
    changed: Mapping[str, str | None]
    at: str = "30m"
    #: what else is raised, and has to be
    also: tuple[tuple[str, str], ...] = ()


_OF = 'instance="{}",job="hookstream"'
_FANOUT, _DISPATCH, _API = (_OF.format(name) for name in ("fanout", "dispatch", "api"))
#: healthy for ten minutes, then not
_COUNT, _BUCKET = (f"hookstream_http_server_request_duration_seconds_{part}" for part in ("count", "bucket"))
_ERRORS = {f'{_COUNT}{{{POSTS},code="503"}}': rising(30)}


def _lag(role: str, seconds: float) -> dict[str, str]:
    return {f'hookstream_consumer_lag_seconds{{group="hookstream.{role}",topic="t",instance="{role}"}}': flat(seconds)}


def _gone(*instances: str) -> dict[str, str | None]:
    return {
        name: f"{flat(1, 10)} stale" if "build_info" in name or "ready" in name or "kafka_up" in name else None
        for name in healthy()
        if any(f'instance="{each}"' in name for each in instances)
    }


FIRING = (
    Firing(
        "HookstreamAcceptanceBudgetBurn", "critical", _ERRORS, also=(("HookstreamAcceptanceBudgetBurn", "warning"),)
    ),
    Firing(
        "HookstreamAcceptanceBudgetBurn",
        "warning",
        {f'{_BUCKET}{{{POSTS},code="202",le="0.25"}}': rising(597)},  # half a percent is slow
        at="6h",
    ),
    Firing(
        "HookstreamFirstAttemptBudgetBurn",
        "critical",
        {'hookstream_first_attempt_delay_seconds_bucket{instance="dispatch",le="5.0"}': rising(500)},
        also=(("HookstreamFirstAttemptBudgetBurn", "warning"),),
    ),
    Firing(
        "HookstreamFirstAttemptBudgetBurn",
        "warning",
        {'hookstream_first_attempt_delay_seconds_bucket{instance="dispatch",le="5.0"}': rising(540)},
        at="6h",
    ),
    Firing(
        "HookstreamDeliveryBudgetBurn",
        "critical",
        {'hookstream_healthy_endpoint_deliveries_total{instance="dispatch",outcome="dead"}': rising(12)},
        also=(("HookstreamDeliveryBudgetBurn", "warning"),),
    ),
    Firing(
        "HookstreamDeliveryBudgetBurn",
        "warning",
        {'hookstream_healthy_endpoint_deliveries_total{instance="dispatch",outcome="dead"}': rising(5)},
        at="6h",
    ),
    Firing(
        "HookstreamKafkaDown",
        "critical",
        {f"hookstream_kafka_up{{{of}}}": f"{flat(1, 10)} {flat(0)}" for of in (_FANOUT, _DISPATCH, _API)}
        | {f'hookstream_ready{{{of},check="topics"}}': f"{flat(1, 10)} {flat(0)}" for of in (_FANOUT, _DISPATCH)}
        | _ERRORS,
    ),
    Firing("HookstreamRoleMissing", "critical", _gone("fanout")),
    Firing("HookstreamAbsent", "critical", _gone("fanout", "dispatch", "api")),
    Firing("HookstreamRoleNotReady", "warning", {f'hookstream_ready{{{_FANOUT},check="fanout"}}': flat(0)}),
    Firing(
        "HookstreamRoleStuck",
        "critical",
        {'hookstream_watchdog_verdicts_total{instance="fanout",role="fanout",verdict="suspect"}': "_x20 1+0x400"},
    ),
    Firing(
        "HookstreamProcessRestarts",
        "warning",
        {f"process_start_time_seconds{{{_FANOUT}}}": rising(300, begin=1_700_000_000)},
    ),
    Firing(
        "HookstreamRoleRestarts",
        "warning",
        {'hookstream_role_restarts_total{instance="fanout",role="fanout"}': rising(1)},
    ),
    Firing(
        "HookstreamDependencyDown",
        "warning",
        {f'hookstream_dependency_up{{{of},dependency="database"}}': flat(0) for of in (_FANOUT, _DISPATCH, _API)},
    ),
    Firing("HookstreamEventLoopSlow", "warning", {f"hookstream_event_loop_lag_seconds{{{_API}}}": flat(2)}),
    Firing("HookstreamFileDescriptors", "warning", {f"process_open_fds{{{_API}}}": flat(19_000)}),
    Firing("HookstreamConsumerLag", "critical", _lag("fanout", 90)),
    Firing("HookstreamRegistryBehind", "critical", _lag("registry", 90)),
    Firing("HookstreamReadModelBehind", "warning", _lag("projection", 900)),
    Firing(
        "HookstreamRetriesOverdue",
        "warning",
        {'hookstream_retry_oldest_due_age_seconds{instance="dispatch",rung="5s"}': flat(300)},
    ),
    Firing(
        "HookstreamDeadLetters",
        "warning",
        {'hookstream_dead_letters_total{instance="dispatch",reason="exhausted"}': rising(20)},
    ),
    Firing(
        "HookstreamInFlightSaturated", "warning", {'hookstream_attempts_in_flight{instance="dispatch"}': flat(1020)}
    ),
    Firing(
        "HookstreamRebalances", "warning", {'hookstream_rebalances_total{role="fanout",instance="fanout"}': rising(1)}
    ),
    Firing(
        "HookstreamProducerErrors",
        "warning",
        {'hookstream_producer_errors_total{instance="fanout",topic="deliveries",error="KafkaTimeoutError"}': rising(2)},
    ),
    Firing(
        "HookstreamLogMoved",
        "critical",
        {'hookstream_logs_moved_total{instance="fanout",role="fanout",kind="end_lost"}': "_x20 1+0x400"},
    ),
    Firing(
        "HookstreamUnreadableRecords",
        "warning",
        {'hookstream_records_unreadable_total{instance="fanout",topic="deliveries"}': "_x20 3+0x400"},
    ),
    Firing(
        "HookstreamEgressBroken",
        "critical",
        {
            'hookstream_attempts_total{instance="dispatch",result="ok",attempt="first"}': flat(600),
            'hookstream_attempts_total{instance="dispatch",result="timeout",attempt="first"}': rising(20),
            'hookstream_circuits_open{instance="dispatch"}': flat(18),
        },
    ),
    Firing("HookstreamEndpointsSilent", "info", {'hookstream_circuits_open{instance="dispatch"}': flat(1)}),
    Firing(
        "HookstreamEndpointOverload",
        "warning",
        {'hookstream_deliveries_deferred_total{instance="dispatch",reason="lane_full"}': rising(300)},
    ),
    Firing("HookstreamApiLimited", "info", {f'{_COUNT}{{{POSTS},code="429"}}': rising(300)}),
    Firing(
        "HookstreamEndpointsDisabled",
        "warning",
        {'hookstream_endpoint_health_changes_total{instance="health",change="disabled"}': rising(1)},
    ),
    Firing(
        "HookstreamMachineHindered",
        "warning",
        {'hookstream_hindrances_total{instance="dispatch",cause="files"}': rising(2)},
    ),
    Firing(
        "HookstreamBlockedAddresses",
        "info",
        {'hookstream_attempts_total{instance="dispatch",result="blocked_address",attempt="first"}': rising(2)},
    ),
    Firing(
        "HookstreamEventsRejected",
        "warning",
        {'hookstream_events_rejected_total{instance="fanout",reason="not_json"}': rising(60)},
    ),
    Firing(
        "HookstreamEmailsNotSent", "warning", {'hookstream_emails_total{instance="api",result="given_up"}': rising(1)}
    ),
)
