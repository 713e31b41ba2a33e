"""Exports of other products, turned into configuration files."""
