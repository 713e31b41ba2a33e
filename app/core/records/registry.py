"""The records of `registry`: the current state of each entity.

The key is `<kind>/<name>`, the value is JSON (schemas/records/registry.v1.json) or a tombstone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from app.core.directory import Directory
from app.core.errors import CommandRefused
from app.core.model.delivery import DeliveryRevision
from app.core.model.endpoint import Endpoint
from app.core.model.erasure import Erasure, SubjectKeys
from app.core.model.event_types import EventType
from app.core.model.replay import Replay
from app.core.model.shape_problems import in_words
from app.core.model.tenant import ApiKey, Tenant
from app.core.records.command import Command, CommandReply
from app.core.shared_values import SharedValues

RegistryEntity = Endpoint | Tenant | ApiKey | EventType | Replay | DeliveryRevision | Erasure | SubjectKeys
_encoder = msgspec.json.Encoder()
_command = msgspec.json.Decoder(Command)
_shared = SharedValues()


def read_command(value: bytes | None) -> Command:
    """The command of a record.

    Raises `CommandRefused`: `invalid` for a field of an endpoint to create, `unreadable` for everything else.
    """
    try:
        return _command.decode(value or b"")
    except msgspec.ValidationError as error:
        pointer, sentence = in_words(error)
        field = pointer.removeprefix("/action/endpoint/").split("/")[0]
        if field:
            raise CommandRefused("invalid", f"{field}: {sentence}") from error
        raise CommandRefused("unreadable", str(error)) from error
    except (ValueError, RecursionError) as error:
        raise CommandRefused("unreadable", str(error)) from error


def apply(directory: Directory, key: str, value: bytes | None) -> None:
    """Apply one record of the registry to a directory; kinds that this version does not have are ignored.

    Raises `ValueError` when the value cannot be decoded as its kind, or belongs to another entity than the key.
    """
    kind, _, name = key.partition("/")
    reader = _READERS.get(kind)
    if reader is not None:
        reader(directory, name, value)


def encode(value: RegistryEntity | Command | CommandReply | None) -> bytes | None:
    """A value as JSON; None, a tombstone, stays None."""
    return None if value is None else _encoder.encode(value)


def _reader(
    kind: type[Any], put: Callable[[Directory, Any], None], remove: Callable[[Directory, str], None]
) -> Callable[[Directory, str, bytes | None], None]:
    decoder = msgspec.json.Decoder(kind)

    def read(directory: Directory, name: str, value: bytes | None) -> None:
        if value is None:
            remove(directory, name)
        else:
            state = decoder.decode(value)
            if _name_of(state) != name:
                raise ValueError(f"the value belongs to {_name_of(state)}")
            put(directory, state)

    return read


def _put_endpoint(directory: Directory, endpoint: Endpoint) -> None:
    _shared.share(endpoint)
    directory.put_endpoint(endpoint)


def _name_of(state: RegistryEntity) -> str:
    match state:
        case EventType():
            return f"{state.tenant}/{state.mode}/{state.name}"
        case _:
            return state.id


_READERS = {
    "endpoint": _reader(Endpoint, _put_endpoint, Directory.remove_endpoint),
    "tenant": _reader(Tenant, Directory.put_tenant, Directory.remove_tenant),
    "key": _reader(ApiKey, Directory.put_key, Directory.remove_key),
    "type": _reader(EventType, Directory.put_event_type, Directory.remove_event_type),
    "replay": _reader(Replay, Directory.put_replay, Directory.remove_replay),
    "erasure": _reader(Erasure, lambda to, each: to.erasures.put(each), lambda to, name: to.erasures.remove(name)),
    "subject-keys": _reader(
        SubjectKeys, lambda to, each: to.erasures.put_keys(each), lambda to, name: to.erasures.remove_keys(name)
    ),
    "revision": _reader(DeliveryRevision, Directory.put_revision, Directory.remove_revision),
}
