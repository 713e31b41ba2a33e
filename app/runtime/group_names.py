"""The names of the roles' consumer groups in this installation."""

from __future__ import annotations

from app.settings import Settings

#: the beginning of the names of pull endpoints' groups; the endpoint's id follows
PULL_GROUPS = "pull."


def group_of(settings: Settings, role: str) -> str:
    """The name of a role's consumer group."""
    return f"{settings.topic_prefix}hookstream.{role}"


def pull_group_of(settings: Settings, endpoint_id: str) -> str:
    """The name of the group with the offsets that the receiver of a pull endpoint has committed."""
    return f"{settings.topic_prefix}hookstream.{PULL_GROUPS}{endpoint_id}"
