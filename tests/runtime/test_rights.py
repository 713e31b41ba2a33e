"""The rights of each role follow from the declarations, and the declarations agree with the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from app.cli.commands.groups import RESETTABLE
from app.core.topics.names import TopicName
from app.runtime.rights import COMMAND_LINE, EVERY_ROLE, Right, rights_of
from app.runtime.roles import GROUPS, ROLES
from app.runtime.topics import topics_of
from app.settings import Settings
from tests.core.inputs.records import inputs

APP = Path(__file__).parents[2] / "app"
#: who else may be named in `read_by` and `written_by`
OTHERS = {COMMAND_LINE, EVERY_ROLE, "upstream", "operators", "anyone"}
TOPICS = topics_of(Settings())
RIGHTS = rights_of(TOPICS, "")


def test_declarations_name_roles() -> None:
    named = {name for spec in TOPICS.specs for name in (*spec.read_by, *spec.written_by)}
    assert named <= set(ROLES) | OTHERS


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_read_what_its_group_consumes(role: str) -> None:
    assert set(ROLES[role].reads) <= set(RIGHTS[role].reads)


@pytest.mark.parametrize("role", ROLES)
def test_a_role_has_rights_on_the_topics_that_its_code_names(role: str) -> None:
    folders = [APP / "api", APP / "dashboard"] if role == "api" else [APP / "roles" / role]
    text = "".join(path.read_text("utf-8") for folder in folders for path in folder.rglob("*.py"))
    names = {str(getattr(TopicName, each)) for each in re.findall(r"TopicName\.([A-Z_]+)", text)}
    ends_only = {TopicName.DELIVERIES_DEAD} if role == "health" else set()
    allowed = {*RIGHTS[role].reads, *RIGHTS[role].writes}
    assert {name for name in names - ends_only if not any(each.startswith(name) for each in allowed)} == set()


def test_the_registry_writes_in_transactions_and_replay_joins_only_to_elect() -> None:
    rights = rights_of(topics_of(Settings(topic_prefix="acme.")), "acme.")
    assert Right("transactional_id", "acme.hookstream.registry", ("Write", "Describe")) in rights["registry"].rights()
    assert Right("group", "acme.hookstream.replay", ("Read", "Describe")) in rights["replay"].rights()
    assert (
        Right("topic", "acme.registry", ("Read", "Write", "Describe", "DescribeConfigs")) in rights["registry"].rights()
    )
    commits = Right("group", "acme.hookstream.pull.", ("Read", "Describe"), "prefixed")
    assert [each for each in rights["api"].rights() if each.resource == "group" and "Read" in each.operations] == [
        commits
    ]


def test_the_command_line_may_show_all_groups_and_reset_those_that_it_offers() -> None:
    assert {name for name, spec in ROLES.items() if spec.resettable} == set(RESETTABLE)
    groups = {each.name: each.operations for each in RIGHTS[COMMAND_LINE].rights() if each.resource == "group"}
    assert set(groups) == {f"hookstream.{name}" for name in ROLES if name in GROUPS or ROLES[name].elects}
    assert {name for name, its in groups.items() if "Read" in its} == {f"hookstream.{name}" for name in RESETTABLE}
    for role in RESETTABLE:
        assert set(ROLES[role].reads) <= set(RIGHTS[COMMAND_LINE].reads)


def test_only_the_command_line_manages_topics() -> None:
    managing = {role for role, rights in RIGHTS.items() if any("Create" in each.operations for each in rights.rights())}
    assert managing == {COMMAND_LINE}


def test_intake_and_the_command_line_may_read_the_topics_of_inputs_and_no_other_role() -> None:
    declared = inputs("[{name: a, topics: [x], type: t}, {name: b, pattern: 'y\\..*', type: t}]")
    table = rights_of(TOPICS, "", declared)
    wanted = {Right("topic", "x", ("Read", "Describe")), Right("topic", "y.", ("Read", "Describe"), "prefixed")}
    for role, rights in table.items():
        assert set(rights.rights()) & wanted == (wanted if role in ("intake", COMMAND_LINE) else set())
    assert {each.name for each in table["intake"].single_rights()} & {"x", "y.", "*"} == {"x"}
    everything = rights_of(TOPICS, "", inputs("[{name: a, pattern: '.*', type: t}]"))["intake"]
    assert Right("topic", "*", ("Read", "Describe")) in everything.rights()
    assert "*" not in {each.name for each in everything.single_rights()}
