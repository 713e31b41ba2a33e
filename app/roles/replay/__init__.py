"""The replay role, and the count of what a replay would deliver."""

from app.roles.replay.counting import Counting
from app.roles.replay.giving import Surroundings
from app.roles.replay.role import ReplayRole
from app.roles.replay.selecting import Archive

__all__ = ["Archive", "Counting", "ReplayRole", "Surroundings"]
