"""Build the dashboard of an API role."""

from __future__ import annotations

from importlib.metadata import version

from app.ports.cluster import Operations
from app.roles.api.access import Gate
from app.roles.api.calls import Services
from app.roles.api.server import Server
from app.roles.api.ui.assets import Assets
from app.roles.api.ui.doorkeeper import Doorkeeper
from app.roles.api.ui.live import Hub
from app.roles.api.ui.protection import Frames
from app.roles.api.ui.rendering import Renderer
from app.roles.api.ui.site import Site
from app.roles.api.ui.visit import Desk
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
