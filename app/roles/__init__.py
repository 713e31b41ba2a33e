"""Thin async shells, one for each role; they obey the core and meet only in topics."""
