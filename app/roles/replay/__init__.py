"""The replay role, and the count of what a replay would deliver."""

from app.roles.replay.role.appender import Surroundings
from app.roles.replay.role.coordinator import ReplayRole
from app.roles.replay.role.dry_run import Counting
from app.roles.replay.role.selector import Archive

__all__ = ["Archive", "Counting", "ReplayRole", "Surroundings"]
