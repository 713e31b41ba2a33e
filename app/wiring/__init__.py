"""Composition root: settings → adapters → roles; no decisions about deliveries."""
