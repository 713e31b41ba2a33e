"""Build the dashboard of an API role."""

from __future__ import annotations

from importlib.metadata import version

from app.api.request import Services
from app.api.server.authentication import Gate
from app.api.server.server import Server
from app.dashboard.assets import Assets
from app.dashboard.live import Hub
from app.dashboard.login_throttle import Doorkeeper
from app.dashboard.rendering import Renderer
from app.dashboard.request import Desk
from app.dashboard.server.security_headers import Frames
from app.dashboard.server.site import Site
from app.ports.cluster import Operations
from app.settings import Settings


def site(settings: Settings, services: Services, gate: Gate, server: Server, operations: Operations) -> Site:
    """The pages over an API's services."""
    number = version("hookstream")
    renderer = Renderer(services.feed, services.clock, Assets(), version=number)
    desk = Desk(
        api=services, hub=Hub(services.clock, services.minter.id("live")), operations=operations,
        gate=gate, doorkeeper=Doorkeeper(), render=renderer.part,
    )  # fmt: skip
    return Site(desk, renderer, server, Frames(settings.portal_origins))
