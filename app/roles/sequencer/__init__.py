"""The sequencer role."""

from app.roles.sequencer.role.worker import SequencerRole

__all__ = ["SequencerRole"]
