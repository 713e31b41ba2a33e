"""`hookstream doctor`: name the faults of an installation, and their repairs."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from app.cli.connect import process_context
from app.cli.terminal.output import OutputFormat, OutputOption, show, show_json


def doctor(
    roles: Annotated[list[str] | None, typer.Argument(help="Roles whose needs are examined. Default: all.")] = None,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Examine Kafka, rights, topics, clocks, workers, keys, DNS, egress, SMTP and the database.

    Run it with the settings of the processes that it examines, on one of their machines. Every finding names the
    command or the setting that repairs it. Nothing is changed, except that two records without a value are appended
    to registry.replies to measure the broker's clock. Exit code 0: no error and no warning; 1: there are some.

    Examples:
        hookstream doctor
        hookstream doctor dispatch delay -o json
    """

    async def work() -> int:
        from app.adapters.clock import SystemClock
        from app.runtime.doctor import Doctor
        from app.runtime.roles import present_roles

        settings = process_context.settings()
        if not settings.bootstrap_servers:
            settings = process_context.settings(development=True)
        chosen = list(present_roles(settings)) if not roles or "all" in roles else roles
        doctor = Doctor(
            settings,
            process_context.clients(),
            lambda: process_context.keyring(settings),
            chosen,
            SystemClock(),
        )
        result = await doctor.examine()
        if output is OutputFormat.json:
            show_json({"healthy": result.healthy, **msgspec.to_builtins(result)})
        else:
            show(msgspec.to_builtins(result.checks), ("check", "state", "detail"), output, "")
            if result.findings:
                print()
            for finding in result.findings:
                print(f"{finding.severity}: {finding.problem}\n  → {finding.remedy}")
        return 0 if result.healthy else 1

    process_context.guarded(lambda: process_context.run(work()))
