"""Filters of endpoints: conditions on an event's fields, in the JSON operator style of Hookdeck and Outpost."""
