"""Decisions: pure, synchronous and total; time, dice and ids are arguments."""
