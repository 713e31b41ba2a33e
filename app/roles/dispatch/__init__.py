"""The dispatch role: deliveries in, HTTP requests out, and for each outcome what the verdict orders."""

from app.roles.dispatch.role.worker import DispatchRole

__all__ = ["DispatchRole"]
