"""`hookstream size`: what a load needs."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from app.cli.connect import process_context
from app.cli.terminal.output import OutputFormat, OutputOption, show, show_json
from app.core.exit_codes import ExitCode
from app.core.sizing import Load, Workload
from app.core.sizing import size as size_of


def size(
    events_per_second: Annotated[float, typer.Option(min=0, max=1e6, help="Events per second in the peak hour.")],
    endpoints: Annotated[int, typer.Option(min=0, max=10_000_000, help="Endpoints in all.")] = 100,
    matches: Annotated[float, typer.Option(min=0, max=1e6, help="Endpoints that get an event, on average.")] = 1.0,
    payload: Annotated[int, typer.Option(min=0, max=10_000_000, help="Bytes of an event.")] = 2_000,
    answer: Annotated[float, typer.Option(min=0, max=60, help="Seconds that receivers take to answer.")] = 0.5,
    retries: Annotated[float, typer.Option(min=0, max=20, help="Repeated attempts for each delivery.")] = 0.05,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Print the processes, partitions, memory and disk that a load needs.

    The model and the measurements behind it are in docs/deploy/sizing.md; half of each core is left free. It needs
    neither Kafka nor the API.

    Examples:
        hookstream size --events-per-second 300
        hookstream size --events-per-second 2000 --endpoints 50000 --matches 3 -o json
    """

    def work() -> int:
        load = Load(
            events_per_second=events_per_second,
            endpoints=endpoints,
            matches=matches,
            payload_bytes=payload,
            answer_s=answer,
            retries=retries,
        )
        needed = size_of(load)
        if output is OutputFormat.json:
            show_json(msgspec.to_builtins(needed))
            return ExitCode.DONE
        show([_row(each) for each in needed.workloads], list(_row(needed.workloads[0])), output, "no roles")
        print(f"HOOKSTREAM_PARTITIONS={needed.partitions}: it never changes, so leave room to grow.")
        print(f"{needed.requests_in_flight:,} requests in flight in the peak hour.")
        print(
            f"{needed.kafka_gb:,} GB on the brokers before compression and copies, for an average of 30 % of the peak."
        )
        print(f"{needed.database_gb:,} GB in PostgreSQL for 30 days.")
        return ExitCode.DONE

    process_context.guarded(work)


def _row(workload: Workload) -> dict[str, object]:
    return {
        "role": workload.role,
        "processes": workload.processes,
        "memory each": f"{workload.memory_mib} MiB",
        "busy cores": f"{workload.busy_cores:.2f}",
    }
