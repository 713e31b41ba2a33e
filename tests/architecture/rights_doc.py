"""Write the table of rights on Kafka in docs/operations.md from the declarations of roles and topics."""

from __future__ import annotations

from app.core.topics.names import TopicName
from app.runtime.rights import COMMAND_LINE, RoleRights, rights_of
from app.runtime.roles import ROLES
from app.runtime.topics import topics_of
from app.settings import Settings
from tests.architecture.section import Section

SECTION = Section("docs/operations.md", "rights_doc.py")
_RUNG = f"{TopicName.DELIVERIES_DELAY}."


def generated() -> str:
    """The table, in the order of the code."""
    rows = [
        f"| {'the command line' if name == COMMAND_LINE else f'`{name}`'} | {_group(name, rights)} "
        f"| {_topics(rights.reads)} | {_topics(rights.writes)} | {_others(rights)} |"
        for name, rights in rights_of(topics_of(Settings()), "").items()
    ]
    head = ["| role | joins the group | reads | writes | other rights |", "|---|---|---|---|---|"]
    return "\n".join([*head, *rows])


def _group(name: str, rights: RoleRights) -> str:
    if rights.group is None:
        return "–"
    elects = name != COMMAND_LINE and ROLES[name].elects
    return f"`{rights.group}`" + (" (to elect one worker)" if elects else "")


def _topics(names: tuple[str, ...]) -> str:
    shown = ["deliveries.delay.<rung>" if name.startswith(_RUNG) else name for name in names]
    return ", ".join(f"`{name}`" for name in sorted(set(shown))) or "–"


def _others(rights: RoleRights) -> str:
    groups = ", ".join(f"`{name}`" for name in rights.describes_groups)
    commits = ", ".join(f"`{name}`" for name in rights.commits_group_prefixes)
    resets = ", ".join(f"`{name}`" for name in rights.resets_groups)
    parts = [
        f"describes the groups {groups}" if groups else "",
        f"commits for groups that begin with {commits}" if commits else "",
        f"resets the groups {resets}" if resets else "",
        f"transactional id `{rights.transactional_id}`" if rights.transactional_id else "",
        "" if rights.writes else "`IdempotentWrite` on the cluster",
        "creates and alters topics" if rights.manages_topics else "",
    ]
    return "; ".join(filter(None, parts)) or "–"
