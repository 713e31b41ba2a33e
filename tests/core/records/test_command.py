"""Names of commands are part of the format of registry.commands."""

from __future__ import annotations

from typing import get_args

from app.core.records.command import CommandAction


def test_names_of_commands() -> None:
    assert sorted(str(each.__struct_config__.tag) for each in get_args(CommandAction)) == [
        "deliveries.supersede",
        "endpoint.circuit",
        "endpoint.close-suspension",
        "endpoint.create",
        "endpoint.failing",
        "endpoint.handshake",
        "endpoint.reactivate",
        "endpoint.recover",
        "endpoint.remove",
        "endpoint.rotate",
        "endpoint.rotate-key",
        "endpoint.suspend",
        "endpoint.update",
        "key.create",
        "key.revoke",
        "replay.advance",
        "replay.cancel",
        "replay.create",
        "replay.pause",
        "replay.resume",
        "subject-keys.reseal",
        "subject.erase",
        "tenant.delete",
        "tenant.put",
        "tenant.unsubscribe",
        "type.put",
        "type.remove",
    ]
