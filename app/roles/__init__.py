"""Thin async shells, one for each role; they execute the core and meet only in topics."""
