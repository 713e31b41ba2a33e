"""Exports of Svix, written after its documented schemas (EndpointOut, ListResponseEndpointOut, EndpointSecretOut)."""

from __future__ import annotations

import base64
import random
from typing import Any

TYPES = ("invoice.paid", "invoice.failed", "user.created", "user.deleted", "order.shipped")


def endpoint(number: int, **fields: Any) -> dict[str, Any]:
    """One `EndpointOut`, with what `headers/` and `secret/` answer."""
    dice = random.Random(number)
    chosen = dice.sample(TYPES, dice.randint(0, len(TYPES)))
    made: dict[str, Any] = {
        "id": f"ep_{number:027d}",
        "uid": f"customer-{number}" if number % 3 else None,
        "url": f"https://customer-{number}.example/hooks",
        "description": f"Endpoint {number}",
        "disabled": number % 10 == 0,
        "eventTypes": chosen or None,
        "channels": ["eu"] if number % 50 == 0 else None,
        "throttleRate": 10 if number % 20 == 0 else None,
        "metadata": {"plan": "gold"} if number % 4 == 0 else {},
        "createdAt": "2024-02-15T10:00:00Z",
        "updatedAt": "2024-02-15T10:00:00Z",
        "secret": {"key": "whsec_" + base64.b64encode(dice.randbytes(24)).decode()},
        "headers": {"headers": {"X-Team": "a"} if number % 5 == 0 else {}, "sensitive": []},
    }
    return made | fields


def page(endpoints: list[dict[str, Any]], *, done: bool = True) -> dict[str, Any]:
    """One `ListResponseEndpointOut`."""
    return {"data": endpoints, "done": done, "iterator": "ep_x", "prevIterator": None}


def applications(number: int, endpoints_each: int) -> dict[str, Any]:
    """Several `ApplicationOut`, with their endpoints."""
    apps = []
    for app in range(number):
        first = app * endpoints_each
        endpoints = [endpoint(each) for each in range(first, first + endpoints_each)]
        apps.append(
            {
                "id": f"app_{app:027d}",
                "uid": f"customer-{app}" if app % 2 else None,
                "name": f"Customer {app}",
                "throttleRate": None,
                "metadata": {},
                "createdAt": "2024-02-15T10:00:00Z",
                "updatedAt": "2024-02-15T10:00:00Z",
                "endpoints": page(endpoints),
            }
        )
    return {"applications": apps}
