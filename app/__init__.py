"""Hookstream: webhook delivery out of Kafka."""
