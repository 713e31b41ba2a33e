"""The names of the roles' consumer groups in this installation."""

from __future__ import annotations

from app.settings import Settings


def group_of(settings: Settings, role: str) -> str:
    """The name of a role's consumer group."""
    return f"{settings.topic_prefix}hookstream.{role}"
