"""Included fields of an event's data, and JMESPath expressions over events."""
