"""`app.ports.schema_registry.SchemaRegistry` over the REST API of Confluent's Schema Registry, which others share."""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64decode, b64encode
from collections import OrderedDict
from collections.abc import Collection, Mapping
from pathlib import Path
from urllib.parse import quote

import aiohttp
import msgspec
import structlog

from app.adapters.protobuf_schemas import protobuf_decoder
from app.core.errors import Unavailable
from app.core.inputs.avro import UnusableSchema, avro_decoder
from app.core.inputs.wire_format import Decode, refusing
from app.ports.clock import Clock
from app.ports.dependencies import Dependency

logger = structlog.get_logger(__name__)

#: schemas in memory, and bytes of their texts together; the least recently used one is asked for again
MAX_SCHEMAS = 1_000
MAX_CACHED_BYTES = 32 * 1024 * 1024
#: bytes of one answer, and of a schema with its references; schemas that one refers to, directly or not
MAX_SCHEMA_BYTES = 512 * 1024
MAX_REFERENCES = 50
#: seconds for which an unknown id is remembered
_UNKNOWN_S = 30.0
#: a registry with several nodes may know a new schema a moment later on one of them
_UNKNOWN_TRIES = 3
_ANSWER_S = 10.0
_PAUSES_S = (0.5, 1.0, 2.0, 5.0, 10.0)
_AT_ONCE = 8


class _Reference(msgspec.Struct):
    name: str
    subject: str
    version: int


class _Answer(msgspec.Struct):
    schema: str
    schemaType: str = "AVRO"
    references: list[_Reference] | None = None


_answer = msgspec.json.Decoder(_Answer)


class _Unknown(Exception):
    """The registry has no such schema."""


class _Loaded(msgspec.Struct):
    decode: Decode
    size: int
    #: until then (monotonic seconds); None: for ever, because a schema never changes
    until_s: float | None = None


class HttpSchemaRegistry:
    """A client with a cache. An answer other than 200 and 404 counts as an outage, which is waited for."""

    def __init__(
        self,
        url: str,
        clock: Clock,
        status: Dependency | None = None,
        *,
        username: str | None = None,
        password: str | None = None,
        ca_file: Path | None = None,
    ) -> None:
        """`status` follows whether the registry answers."""
        self._url = url.rstrip("/")
        self._clock = clock
        self._status = status
        self._trouble: str | None = None
        self._headers = {"Accept": "application/vnd.schemaregistry.v1+json, application/json"}
        if username is not None:
            login = b64encode(f"{username}:{password or ''}".encode()).decode()
            self._headers["Authorization"] = f"Basic {login}"
        self._tls = ssl.create_default_context(cafile=str(ca_file)) if ca_file is not None else True
        self._session: aiohttp.ClientSession | None = None
        self._loaded: OrderedDict[int, _Loaded] = OrderedDict()
        self._loading: dict[int, asyncio.Task[_Loaded]] = {}
        self._bytes = 0
        self._slots = asyncio.Semaphore(_AT_ONCE)

    def trouble(self) -> str | None:
        """See `app.ports.schema_registry.SchemaRegistry`."""
        return self._trouble

    async def close(self) -> None:
        """See `app.ports.schema_registry.SchemaRegistry`."""
        for task in self._loading.values():
            task.cancel()
        await asyncio.gather(*self._loading.values(), return_exceptions=True)
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def decoders(self, ids: Collection[int]) -> Mapping[int, Decode]:
        """See `app.ports.schema_registry.SchemaRegistry`."""
        loaded = await asyncio.gather(*map(self._of, ids))
        return {number: each.decode for number, each in zip(ids, loaded, strict=True)}

    async def probe(self) -> None:
        """Ask for the kinds of schemas. Raises `Unavailable` with the reason when that fails."""
        try:
            await self._get("/schemas/types")
        except _Unknown:
            return

    async def _of(self, number: int) -> _Loaded:
        there = self._loaded.get(number)
        if there is not None and (there.until_s is None or there.until_s > self._clock.monotonic()):
            self._loaded.move_to_end(number)
            return there
        task = self._loading.get(number)
        if task is None:
            task = self._loading[number] = asyncio.create_task(self._load(number))
            task.add_done_callback(lambda _: self._loading.pop(number, None))
        return await asyncio.shield(task)

    async def _load(self, number: int) -> _Loaded:
        async with self._slots:
            loaded = await self._patiently(number)
        before = self._loaded.pop(number, None)
        self._bytes += loaded.size - (before.size if before is not None else 0)
        self._loaded[number] = loaded
        while len(self._loaded) > MAX_SCHEMAS or self._bytes > MAX_CACHED_BYTES:
            _, oldest = self._loaded.popitem(last=False)
            self._bytes -= oldest.size
        return loaded

    async def _patiently(self, number: int) -> _Loaded:
        """The schema, or why it cannot be used, as soon as the registry answers."""
        turn = unknown = 0
        while True:
            try:
                loaded = await self._fetch(number)
            except Unavailable as error:
                self._note(str(error))
                await self._clock.sleep(_PAUSES_S[min(turn, len(_PAUSES_S) - 1)])
                turn += 1
            except _Unknown:
                self._note(None)
                unknown += 1
                if unknown == _UNKNOWN_TRIES:
                    decode = refusing("unknown_schema", f"the schema registry has no schema {number}")
                    return _Loaded(decode, 200, self._clock.monotonic() + _UNKNOWN_S)
                await self._clock.sleep(_PAUSES_S[0])
            else:
                self._note(None)
                return loaded

    def _note(self, trouble: str | None) -> None:
        self._trouble = trouble
        if self._status is None:
            return
        if trouble is None:
            self._status.up()
        else:
            self._status.down(trouble)

    async def _fetch(self, number: int) -> _Loaded:
        """Raises `Unavailable` and `_Unknown`."""
        try:
            answer = await self._schema(f"/schemas/ids/{number}")
            decode, size = await self._decoder(answer, f"/schemas/ids/{number}")
        except UnusableSchema as error:
            logger.warning("schemas.unusable", schema=number, reason=str(error))
            return _Loaded(refusing("bad_schema", f"schema {number} cannot be used: {error}"), 500)
        return _Loaded(decode, size)

    async def _decoder(self, answer: _Answer, path: str) -> tuple[Decode, int]:
        match answer.schemaType:
            case "AVRO":
                texts = await self._references(answer, serialized=False)
                return avro_decoder(answer.schema, list(texts.values())), _size(answer.schema, *texts.values())
            case "JSON":
                return _is_json, len(answer.schema)
            case "PROTOBUF":
                main = await self._schema(f"{path}?format=serialized")
                texts = await self._references(main, serialized=True)
                files = {name: _descriptor(text) for name, text in texts.items()}
                return protobuf_decoder(_descriptor(main.schema), files), _size(main.schema, *texts.values())
            case other:
                raise UnusableSchema(f"schemas of the type {other[:40]} are not supported")

    async def _references(self, answer: _Answer, *, serialized: bool) -> dict[str, str]:
        """Name → text of all schemas that one refers to, each after those that it refers to itself."""
        texts: dict[str, str] = {}
        size = len(answer.schema)

        async def visit(references: list[_Reference], above: tuple[str, ...]) -> None:
            nonlocal size
            for each in references:
                if each.name in texts or each.name in above:
                    continue
                if len(texts) + len(above) >= MAX_REFERENCES:
                    raise UnusableSchema(f"it refers to more than {MAX_REFERENCES} others")
                form = "?format=serialized" if serialized else ""
                inner = await self._schema(f"/subjects/{quote(each.subject, safe='')}/versions/{each.version}{form}")
                size += len(inner.schema)
                if size > MAX_SCHEMA_BYTES:
                    raise UnusableSchema(f"it has more than {MAX_SCHEMA_BYTES} bytes with those that it refers to")
                await visit(inner.references or [], (*above, each.name))
                texts[each.name] = inner.schema

        await visit(answer.references or [], ())
        return texts

    async def _schema(self, path: str) -> _Answer:
        body = await self._get(path)
        try:
            return _answer.decode(body)
        except (msgspec.DecodeError, RecursionError) as error:
            raise Unavailable(f"the schema registry's answer to {path} cannot be read: {error}") from error

    async def _get(self, path: str) -> bytes:
        """The body of an answer. Raises `_Unknown` for 404, `UnusableSchema` beyond the bound, and `Unavailable`."""
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_ANSWER_S))
        try:
            async with self._session.get(
                self._url + path, headers=self._headers, ssl=self._tls, allow_redirects=False
            ) as answer:
                body = await answer.content.read(MAX_SCHEMA_BYTES + 1)
                while len(body) <= MAX_SCHEMA_BYTES and (more := await answer.content.read(MAX_SCHEMA_BYTES)):
                    body += more
                status = answer.status
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise Unavailable(
                f"the schema registry at {self._url} does not answer: {str(error) or repr(error)}"
            ) from error
        if status == 404:
            raise _Unknown
        if status != 200:
            raise Unavailable(f"the schema registry at {self._url} answers {status} to {path}")
        if len(body) > MAX_SCHEMA_BYTES:
            raise UnusableSchema(f"it has more than {MAX_SCHEMA_BYTES} bytes")
        return body


def _size(*texts: str) -> int:
    return sum(map(len, texts))


def _is_json(payload: bytes) -> bytes:
    """The value itself, which is checked when it is mapped."""
    return payload


def _descriptor(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except ValueError as error:
        raise UnusableSchema("the registry does not return it as a serialized file descriptor") from error
