"""The replay role, and the count of what a replay would deliver."""
