"""The replay role."""

from app.roles.replay.giving import Surroundings
from app.roles.replay.role import ReplayRole

__all__ = ["ReplayRole", "Surroundings"]
