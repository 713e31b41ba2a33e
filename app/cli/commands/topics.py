"""`hookstream topics`: compare the cluster with topics/*.yaml, and bring it in line."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.connect import process_context
from app.cli.connect.kafka_rights import require
from app.cli.terminal.output import OutputFormat, OutputOption, show
from app.core.exit_codes import ExitCode

if TYPE_CHECKING:
    from app.core.topics.drift import TopicStep

app = typer.Typer(
    no_args_is_help=True, help="Compare the cluster's topics with their declarations in topics/*.yaml, and apply them."
)


@app.command("plan")
def plan_command(output: OutputOption = OutputFormat.table) -> None:
    """Show how the cluster differs from topics/*.yaml. Exit code 0: not at all; 2: there are differences.

    Example:
        hookstream topics plan
    """
    steps = process_context.run(_steps())
    _show(steps, output, "The cluster is in line with topics/*.yaml.")
    raise typer.Exit(ExitCode.USAGE if steps else ExitCode.DONE)


@app.command("apply")
def apply_command(output: OutputOption = OutputFormat.table) -> None:
    """Create missing topics and change settings that differ. Deletes nothing and changes no partition counts.

    Example:
        hookstream topics apply
    """

    from app.adapters.kafka.admin import KafkaAdmin
    from app.core.topics.drift import TopicDrift, plan
    from app.runtime.topics import topics_of

    async def work() -> tuple[list[TopicStep], list[str]]:
        topics, clients = topics_of(process_context.settings()), process_context.clients()
        await require(clients, compares=topics.all_names())
        async with KafkaAdmin(clients) as admin:
            steps = plan(topics, await admin.actual(topics))
            return steps, await admin.apply(steps)

    steps, done = process_context.run(work())
    drift = [step for step in steps if isinstance(step, TopicDrift)]
    rows = [{"step": sentence, "done": True} for sentence in done]
    rows += [{"step": step.sentence(), "done": False} for step in drift]
    show(rows, ("step", "done"), output, "Nothing to do: the cluster is in line with topics/*.yaml.")
    raise typer.Exit(ExitCode.FAILED if drift else ExitCode.DONE)


@app.command("verify")
def verify_command(output: OutputOption = OutputFormat.table) -> None:
    """Like plan, for scripts: exits with 1 if the cluster differs.

    Example:
        hookstream topics verify || echo 'the topics differ'
    """
    steps = process_context.run(_steps())
    _show(steps, output, "The cluster is in line with topics/*.yaml.")
    raise typer.Exit(ExitCode.FAILED if steps else ExitCode.DONE)


class ExportFormat(StrEnum):
    """What `export` prints."""

    topics = "topics"
    strimzi_topics = "strimzi-topics"
    terraform_topics = "terraform-topics"
    acls = "acls"
    strimzi = "strimzi"
    terraform = "terraform"


@app.command("export")
def export_command(
    format_: Annotated[
        ExportFormat,
        typer.Option(
            "--format",
            help="The topics as topics: kafka-topics.sh commands, strimzi-topics: KafkaTopic resources, "
            "terraform-topics: resources of the provider Mongey/kafka. The rights of each role as acls: kafka-acls.sh "
            "commands, strimzi: KafkaUser resources, terraform: resources of the same provider.",
        ),
    ] = ExportFormat.topics,
    user: Annotated[
        str, typer.Option(help="Kafka user of a role, for the rights; {role} stands for the role's name.")
    ] = "hookstream-{role}",
) -> None:
    """Print all topics, or the rights that each role needs, for clusters that are managed by other tools.

    The rights of the command line are those of the role `cli`. With a `--user` without {role} all roles share one.
    The commands read the brokers' address from $KAFKA, and from $ADMIN the file with an administrator's client
    properties, which a secured Kafka needs. In YAML change the label with the name of the Kafka resource.

    Examples:
        hookstream topics export >create-topics.sh
        hookstream topics export --format acls >grant.sh && KAFKA=kafka:9093 ADMIN=admin.properties sh grant.sh
    """
    from app.runtime import topics_export
    from app.runtime.topics import topics_of

    settings = process_context.or_fail(process_context.settings)
    topics = process_context.or_fail(lambda: topics_of(settings))
    match format_:
        case ExportFormat.topics:
            print(topics_export.commands(topics))
        case ExportFormat.strimzi_topics:
            print(topics_export.strimzi(topics))
        case ExportFormat.terraform_topics:
            print(topics_export.terraform(topics))
        case _:
            from app.runtime import rights, rights_export  # they import the roles, which takes time
            from app.runtime.inputs import inputs_of

            write = {"acls": rights_export.acls, "strimzi": rights_export.strimzi, "terraform": rights_export.terraform}
            inputs = process_context.or_fail(lambda: inputs_of(settings, topics))
            table = rights.rights_of(topics, settings.topic_prefix, inputs)
            print(process_context.or_fail(lambda: write[format_.value](table, user)))


async def _steps() -> list[TopicStep]:
    from app.adapters.kafka.admin import KafkaAdmin
    from app.core.topics.drift import plan
    from app.runtime.topics import topics_of

    topics, clients = topics_of(process_context.settings()), process_context.clients()
    await require(clients, compares=topics.all_names())
    async with KafkaAdmin(clients) as admin:
        return plan(topics, await admin.actual(topics))


def _show(steps: list[TopicStep], output: OutputFormat, empty: str) -> None:
    rows: list[dict[str, Any]] = [
        {"step": step.sentence(), "topic": step.spec.name, "kind": type(step).__struct_config__.tag} for step in steps
    ]
    show(rows, ("step",), output, empty, ("topic", "kind"))
