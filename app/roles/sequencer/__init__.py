"""The sequencer role."""

from app.roles.sequencer.role import SequencerRole

__all__ = ["SequencerRole"]
