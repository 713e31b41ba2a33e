"""Alerts on the usual causes of trouble, and the series that they share.

Each incident should raise one alert. So what follows from another condition is left out by `unless`: while Kafka does
not answer, nothing works, and only that is worth an alert.
"""

from __future__ import annotations

from monitoring.rule import Alert, Recording

#: outcomes of attempts in which the receiver has not said anything; see app/roles/dispatch/circuit.py
SILENT = "timeout|refused|reset|tls|dns|connect|protocol"
#: outcomes of attempts in which nothing was sent to the receiver
_UNSENT = "blocked_address|not_sent|token"
_KAFKA = "unless on (namespace) max_over_time(hookstream:kafka_down[{}]) > 0"
_DEFERRED = 'hookstream_deliveries_deferred_total{reason=~"lane_full|rate_limit"}'


def _any(counter: str, labels: str, window: str) -> str:
    """The counter has grown within the window. A new series has no increase: its first sample is the event."""
    return (
        f"sum by (namespace, {labels}) (\n"
        f"  increase({counter}[{window}]) > 0 or ({counter} unless {counter} offset {window})\n) > 0"
    )


RECORDINGS = (
    Recording("hookstream:kafka_down", "1 - max by (namespace) (hookstream_kafka_up)"),
    Recording(
        "hookstream:attempts_silent:rate2m",
        f'sum by (namespace) (rate(hookstream_attempts_total{{result=~"{SILENT}"}}[2m]))',
    ),
    Recording(
        "hookstream:attempts_answered:rate2m",
        f'sum by (namespace) (rate(hookstream_attempts_total{{result!~"{SILENT}|{_UNSENT}"}}[2m]))\n'
        "or hookstream:attempts_silent:rate2m * 0",
    ),
    Recording("hookstream:circuits_open:sum", "sum by (namespace) (hookstream_circuits_open)"),
    Recording(
        "hookstream:endpoints_active:max",
        'max by (namespace) (hookstream_endpoints{state="active"})',
    ),
    # More silence than answers, and not from a few endpoints only: the way out is broken, not the receivers. Circuits
    # of idle endpoints stay closed, so that in a large installation a fifth is much.
    Recording(
        "hookstream:egress_broken",
        "hookstream:attempts_silent:rate2m >= hookstream:attempts_answered:rate2m\n"
        "and (hookstream:circuits_open:sum > 0.5 * hookstream:endpoints_active:max\n"
        "or hookstream:circuits_open:sum >= 10\n"
        "and hookstream:circuits_open:sum > 0.2 * hookstream:endpoints_active:max)\n"
        "and hookstream:circuits_open:sum > 1",
    ),
)

SERVICE = (
    Alert(
        "HookstreamKafkaDown",
        "critical",
        "1m",
        "hookstream:kafka_down == 1",
        "No process of Hookstream reaches Kafka",
        "Events are not accepted and nothing is delivered until Kafka answers. Nothing is lost.",
    ),
    Alert(
        "HookstreamRoleMissing",
        "critical",
        "3m",
        "(count by (namespace, check) (last_over_time(hookstream_ready"
        '{check!~"kafka|topics|directory"}[1d]))\n'
        "unless on (namespace, check) count by (namespace, check) (hookstream_ready))\n"
        "and on (namespace) count by (namespace) (hookstream_build_info)",
        "No process runs the role {{ $labels.check }}",
        "A process ran the role within the last day, and no process that Prometheus can scrape runs it now.",
    ),
    Alert(
        "HookstreamAbsent",
        "critical",
        "5m",
        "absent(hookstream_build_info)",
        "Prometheus scrapes no process of Hookstream",
        "All processes are down, or Prometheus does not reach them: nothing else alerts either.",
    ),
    Alert(
        "HookstreamRoleNotReady",
        "warning",
        "10m",
        '(hookstream_ready{check!="kafka"} == 0 and on (namespace, instance) hookstream_kafka_up == 1)\n'
        + _KAFKA.format("5m"),
        "{{ $labels.check }} is not ready on {{ $labels.instance }}",
        "/readyz of the process says why: tables recover, the registry is not read to its end, or a watchdog has "
        "found no progress.",
    ),
    Alert(
        "HookstreamRoleStuck",
        "critical",
        "0m",
        _any("hookstream_watchdog_verdicts_total", "role", "15m"),
        "A watchdog found the role {{ $labels.role }} without progress",
        "It has work and does not get on with it. Two minutes later it is ended. role.suspect in the log names the "
        "partition.",
    ),
    Alert(
        "HookstreamProcessRestarts",
        "warning",
        "0m",
        "changes(process_start_time_seconds[30m]) > 3\nand on (namespace, job, instance) hookstream_build_info",
        "{{ $labels.instance }} has started {{ $value }} times within half an hour",
        "The process ends and is started again. Its exit code and its last log lines say why.",
    ),
    Alert(
        "HookstreamRoleRestarts",
        "warning",
        "0m",
        "(sum by (namespace, instance, role) (increase(hookstream_role_restarts_total[15m])) > 3)\n"
        + _KAFKA.format("15m"),
        "The role {{ $labels.role }} keeps failing on {{ $labels.instance }}",
        "It was built anew more than three times within 15 minutes. The log line role.restarting has the reason.",
    ),
    Alert(
        "HookstreamDependencyDown",
        "warning",
        "5m",
        'max by (namespace, dependency) (hookstream_dependency_up{dependency!="kafka"}) == 0',
        "{{ $labels.dependency }} does not answer any process",
        "What needs it waits: the read model and its API (database), e-mail (mail_server), deliveries (the others).",
    ),
    Alert(
        "HookstreamEventLoopSlow",
        "warning",
        "5m",
        "min_over_time(hookstream_event_loop_lag_seconds[1m]) > 0.5",
        "The event loop of {{ $labels.instance }} is {{ $value | humanizeDuration }} late",
        "The process has more to do than one core can: everything in it takes longer.",
    ),
    Alert(
        "HookstreamFileDescriptors",
        "warning",
        "5m",
        "process_open_fds / process_max_fds > 0.8\nand on (namespace, job, instance) hookstream_build_info",
        "{{ $labels.instance }} uses {{ $value | humanizePercentage }} of its file descriptors",
        "When none is left, deliveries are deferred and the API refuses connections.",
    ),
)

BACKLOG = (
    Alert(
        "HookstreamConsumerLag",
        "critical",
        "5m",
        "max by (namespace, group, topic) (hookstream_consumer_lag_seconds"
        '{group=~".*hookstream\\\\.(fanout|dispatch|sequencer)"}) > 60',
        "{{ $labels.group }} is {{ $value | humanizeDuration }} behind in {{ $labels.topic }}",
        "Deliveries are late by as much. The role is too slow, or one of its partitions does not move.",
    ),
    Alert(
        "HookstreamRegistryBehind",
        "critical",
        "2m",
        'max by (namespace) (hookstream_consumer_lag_seconds{group=~".*hookstream\\\\.registry"}) > 30',
        "Commands to the registry wait for {{ $value | humanizeDuration }}",
        "Creating, changing and disabling endpoints, tenants and keys does not work; deliveries go on.",
    ),
    Alert(
        "HookstreamReadModelBehind",
        "warning",
        "10m",
        'max by (namespace) (hookstream_consumer_lag_seconds{group=~".*hookstream\\\\.projection"}) > 120',
        "The read model is {{ $value | humanizeDuration }} behind",
        "Deliveries, attempts and statistics in the API and the dashboard are older than they look. Deliveries go on.",
    ),
    Alert(
        "HookstreamRetriesOverdue",
        "warning",
        "5m",
        "max by (namespace, rung) (hookstream_retry_oldest_due_age_seconds) > 120",
        "Retries of the rung {{ $labels.rung }} are {{ $value | humanizeDuration }} overdue",
        "The role delay does not release what is due: it is too slow, or cannot write to deliveries.",
    ),
    Alert(
        "HookstreamDeadLetters",
        "warning",
        "10m",
        'sum by (namespace, reason) (increase(hookstream_dead_letters_total{reason!="paused"}[1h])) > 100\n'
        "and on (namespace) sum by (namespace) "
        '(increase(hookstream_dead_letters_total{reason!="paused"}[1h]))\n'
        "> 0.01 * sum by (namespace) (increase(hookstream_deliveries_total[1h]))",
        "{{ $value | humanize }} deliveries died within an hour: {{ $labels.reason }}",
        "More than one in a hundred deliveries has used up its schedule or could not be sent.",
    ),
    Alert(
        "HookstreamInFlightSaturated",
        "warning",
        "10m",
        "hookstream_attempts_in_flight / hookstream_attempts_in_flight_limit > 0.9",
        "{{ $labels.instance }} uses {{ $value | humanizePercentage }} of its requests in flight",
        "The limit of the process, not of the receivers, decides how much is delivered.",
    ),
)

KAFKA = (
    Alert(
        "HookstreamRebalances",
        "warning",
        "0m",
        "(max by (namespace, role) (increase(hookstream_rebalances_total[10m])) > 3)\n" + _KAFKA.format("10m"),
        "The group of the role {{ $labels.role }} is rebalanced again and again",
        "Each assignment interrupts the role. A process keeps leaving and joining, or misses its heartbeats.",
    ),
    Alert(
        "HookstreamProducerErrors",
        "warning",
        "5m",
        "(sum by (namespace, topic, error) (increase(hookstream_producer_errors_total[10m])) > 3)\n"
        + _KAFKA.format("10m"),
        "Appends to {{ $labels.topic }} fail with {{ $labels.error }}",
        "They are retried and nothing is lost, but what caused them waits.",
    ),
    Alert(
        "HookstreamLogMoved",
        "critical",
        "0m",
        _any("hookstream_logs_moved_total", "role, kind", "1h"),
        "The log that {{ $labels.role }} reads is not where it was: {{ $labels.kind }}",
        "Records were deleted before they were read, or the brokers lost some. Records may be lost.",
    ),
    Alert(
        "HookstreamUnreadableRecords",
        "warning",
        "0m",
        _any("hookstream_records_unreadable_total", "topic", "1h"),
        "Records of {{ $labels.topic }} cannot be decoded",
        "A foreign client writes to the topic, or a newer version did. They are skipped.",
    ),
)

RECEIVERS = (
    Alert(
        "HookstreamEgressBroken",
        "critical",
        "1m",
        "hookstream:egress_broken\n" + _KAFKA.format("5m"),
        "Most requests to endpoints get no answer at all",
        "Many endpoints are silent at once: the network, the proxy, DNS or the firewall on our side is to blame.",
    ),
    Alert(
        "HookstreamEndpointsSilent",
        "info",
        "5m",
        "hookstream:circuits_open:sum > 0 unless on (namespace) hookstream:egress_broken",
        "{{ $value }} endpoints are silent",
        "They refuse connections or time out. Only probes are sent to them; their deliveries wait.",
    ),
    Alert(
        "HookstreamEndpointOverload",
        "warning",
        "5m",
        f"sum by (namespace) (rate({_DEFERRED}[5m])) > 1\n"
        f"and sum by (namespace) (rate({_DEFERRED}[5m]))\n"
        "> 0.2 * sum by (namespace) (rate(hookstream_attempts_total[5m]))",
        "{{ $value | humanize }} deliveries per second are deferred: endpoints get more than they take",
        "A tenant floods, or a receiver has become slow. Other endpoints are not affected.",
    ),
    Alert(
        "HookstreamApiLimited",
        "info",
        "10m",
        'sum by (namespace) (rate(hookstream_http_server_request_duration_seconds_count{code="429"}[5m]))\n'
        "> 0.1 * sum by (namespace) (rate(hookstream_http_server_request_duration_seconds_count[5m]))",
        "The API refuses {{ $value | humanize }} requests per second with 429",
        "A key or a tenant asks more often than it may. Others are not affected.",
    ),
    Alert(
        "HookstreamEndpointsDisabled",
        "warning",
        "0m",
        'sum by (namespace) (increase(hookstream_endpoint_health_changes_total{change="disabled"}[1h])) > 5',
        "{{ $value | humanize }} endpoints were disabled within an hour",
        "Each has failed for as long as its rule allows. So many at once have a common cause.",
    ),
    Alert(
        "HookstreamMachineHindered",
        "warning",
        "5m",
        "sum by (namespace, instance, cause) (increase(hookstream_hindrances_total[10m])) > 5",
        "{{ $labels.instance }} cannot send requests: {{ $labels.cause }}",
        "The machine lacks a resource. Deliveries are deferred, and do not count against endpoints.",
    ),
    Alert(
        "HookstreamBlockedAddresses",
        "info",
        "0m",
        'sum by (namespace) (increase(hookstream_attempts_total{result="blocked_address"}[1h])) > 20',
        "{{ $value | humanize }} requests to forbidden addresses were refused within an hour",
        "An endpoint's name resolves to a private address: a mistake, or an attempt to reach the internal network.",
    ),
    Alert(
        "HookstreamEventsRejected",
        "warning",
        "10m",
        "sum by (namespace) (rate(hookstream_events_rejected_total[10m]))\n"
        "> 0.05 * sum by (namespace) (rate(hookstream_events_ingested_total[10m]))",
        "Producers append {{ $value | humanize }} malformed events per second",
        "They are in events.rejected with the reason, and are not delivered.",
    ),
    Alert(
        "HookstreamEmailsNotSent",
        "warning",
        "0m",
        'sum by (namespace) (increase(hookstream_emails_total{result=~"given_up|refused"}[1h])) > 5',
        "{{ $value | humanize }} e-mails to owners of endpoints were not delivered within an hour",
        "Owners do not learn that their endpoints fail or were disabled.",
    ),
)
ALERTS = (*SERVICE, *BACKLOG, *KAFKA, *RECEIVERS)
