"""Pause, disable and reactivate an endpoint, with the offsets at which the suspension begins and ends."""

from __future__ import annotations

from typing import Literal

from app.api.problems import not_found
from app.api.request import ApiServices
from app.core.model.endpoint import Endpoint
from app.core.records.command import CloseSuspension, ReactivateEndpoint, SuspendEndpoint
from app.core.topics.names import TopicName


async def suspend(
    api: ApiServices,
    endpoint: Endpoint,
    status: Literal["paused", "disabled"],
    reason: str,
    expected: int | None = None,
) -> Endpoint:
    """Pause or disable an endpoint, with the current ends of the logs as the beginning of the suspension."""
    begin, dead_begin = await offsets_of_pause(api, endpoint.id)
    action = SuspendEndpoint(
        id=endpoint.id,
        status=status,
        begin=begin,
        reason=reason,
        expected_version=expected,
        dead_begin=dead_begin,
    )
    await api.command(action, endpoint.id)
    return _again(api, endpoint)


async def offsets_of_pause(api: ApiServices, endpoint_id: str) -> tuple[dict[int, int], int]:
    """`begin` and `dead_begin` of a suspension that begins now."""
    begin = await api.ends.fanned_out()  # fan-out judges from there on, however far the log is ahead of it
    dead = api.topics.name(TopicName.DELIVERIES_DEAD)
    dead_ends = await api.ends.ends(dead)
    return dict(begin), dead_ends[api.partition_for(dead, endpoint_id.encode())]


async def reactivate(api: ApiServices, endpoint: Endpoint, expected: int | None = None) -> Endpoint:
    """Resume or enable an endpoint; after a pause, a replay first delivers the parked deliveries."""
    end = await api.ends.ends(api.topics.name(TopicName.EVENTS_RAW))
    action = ReactivateEndpoint(
        id=endpoint.id, end=dict(end), replay_id=api.minter.id("rpl"), expected_version=expected
    )
    await api.command(action, endpoint.id)
    if endpoint.status == "disabled":  # events appended while the command was being processed were missed, too
        later = await api.ends.ends(api.topics.name(TopicName.EVENTS_RAW))
        await api.command(CloseSuspension(endpoint.id, dict(later)), endpoint.id)
    return _again(api, endpoint)


def _again(api: ApiServices, endpoint: Endpoint) -> Endpoint:
    current = api.feed.directory.endpoint(endpoint.id)
    if current is None:
        raise not_found("webhook", endpoint.id)
    return current
