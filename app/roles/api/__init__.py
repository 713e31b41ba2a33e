"""The API role: what customers and operators do with endpoints, events, tenants and keys, over HTTP."""
