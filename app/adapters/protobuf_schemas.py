"""Protobuf messages to JSON, by the file descriptors of a schema registry. Needs the extra `schema-registry`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from app.core.errors import MalformedEvent
from app.core.inputs.avro import UnusableSchema

_MAIN = "hookstream-schema.proto"
#: message types within one another that an index may name
_MAX_INDEXES = 20
#: characters of the names of fields and enumerated values, which JSON repeats
_MAX_NAME = 200
#: files that every installation of Protobuf has
_STANDARD_FILES = (
    "any",
    "api",
    "duration",
    "empty",
    "field_mask",
    "source_context",
    "struct",
    "timestamp",
    "type",
    "wrappers",
)


def protobuf_decoder(schema: bytes, references: Mapping[str, bytes]) -> Callable[[bytes], bytes]:
    """A function from an encoded message, behind its indexes, to JSON; it raises `MalformedEvent`.

    `schema`, and `references` by the name of their import, are serialized file descriptors. Raises `UnusableSchema`.
    """
    try:
        from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    except ImportError as error:
        raise UnusableSchema(
            "Protobuf needs the extra `schema-registry`: pip install 'hookstream[schema-registry]'"
        ) from error
    pool = descriptor_pool.DescriptorPool()
    try:
        main = descriptor_pb2.FileDescriptorProto.FromString(schema)
        main.name = _MAIN
        files = {name: descriptor_pb2.FileDescriptorProto.FromString(raw) for name, raw in references.items()}
        _add(pool, main, files, set())
    except Exception as error:  # the library has no common class for what it refuses
        raise UnusableSchema(f"it cannot be loaded: {str(error)[:300]}") from error

    def decode(payload: bytes) -> bytes:
        indexes, at = _indexes(payload)
        name = _message_name(main, indexes)
        message = message_factory.GetMessageClass(pool.FindMessageTypeByName(name))()
        return _json(message, payload[at:])

    return decode


def _add(pool: Any, file: Any, files: Mapping[str, Any], seen: set[str]) -> None:
    """Add a file to a pool after the files that it imports."""
    if file.name in seen:
        return
    seen.add(file.name)
    _check_names(file.message_type, file.enum_type)
    for name in file.dependency:
        imported = files.get(name)
        if imported is None:
            imported = _standard_file(name)
        imported.name = name
        _add(pool, imported, files, seen)
    pool.AddSerializedFile(file.SerializeToString())


def _check_names(messages: Any, enums: Any) -> None:
    names = [field.name for message in messages for field in message.field]
    names += [value.name for enum in enums for value in enum.value]
    if any(len(name) > _MAX_NAME for name in names):
        raise UnusableSchema(f"a name has more than {_MAX_NAME} characters")
    for message in messages:
        _check_names(message.nested_type, message.enum_type)


def _standard_file(name: str) -> Any:
    from importlib import import_module

    from google.protobuf import descriptor_pb2

    stem = name.removeprefix("google/protobuf/").removesuffix(".proto")
    if stem not in _STANDARD_FILES:
        raise UnusableSchema(f"it imports {name[:200]}, which is not among its references")
    module = import_module(f"google.protobuf.{stem}_pb2")
    return descriptor_pb2.FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb)


def _indexes(payload: bytes) -> tuple[list[int], int]:
    """The indexes that name the message, and where it begins."""
    count, at = _varint(payload, 0)
    if count == 0:
        return [0], at
    if not 0 < count <= _MAX_INDEXES:
        raise _malformed(f"it names {count} indexes of a message")
    indexes = []
    for _ in range(count):
        index, at = _varint(payload, at)
        indexes.append(index)
    return indexes, at


def _varint(payload: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        if at >= len(payload) or shift > 28:
            raise _malformed("its indexes are cut off or too long")
        byte = payload[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1), at
        shift += 7


def _message_name(file: Any, indexes: list[int]) -> str:
    names, types = [file.package] if file.package else [], file.message_type
    for index in indexes:
        if not 0 <= index < len(types):
            raise _malformed(f"its schema has no message {index}")
        names.append(types[index].name)
        types = types[index].nested_type
    return ".".join(names)


def _json(message: Any, encoded: bytes) -> bytes:
    from google.protobuf import json_format
    from google.protobuf.message import DecodeError

    try:
        message.ParseFromString(encoded)
        text: str = json_format.MessageToJson(message, preserving_proto_field_name=True, indent=None)
    except (DecodeError, json_format.Error, TypeError, ValueError, RecursionError) as error:
        raise _malformed(str(error)[:300]) from error
    return text.encode()


def _malformed(detail: str) -> MalformedEvent:
    return MalformedEvent("not_protobuf", f"the value does not fit its schema: {detail}")
