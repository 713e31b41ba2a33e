"""The sequencer role."""
