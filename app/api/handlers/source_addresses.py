"""Where requests to endpoints come from: what receivers allow in their firewalls."""

from __future__ import annotations

from app.api.contract.webhooks import SourceAddresses
from app.api.request import ApiRequest, ApiResponse, ApiServices


async def show(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """The published addresses; none if the installation has published none."""
    return ApiResponse(body=SourceAddresses(addresses=list(api.egress_ips)))
