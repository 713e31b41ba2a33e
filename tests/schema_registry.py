"""A server with the documented REST API of Confluent's Schema Registry, as far as clients and serializers use it."""

from __future__ import annotations

import ssl
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from tests.ports import free_port


class SchemaRegistryServer:
    """Schemas in memory; `status` other than 200 is what it answers to everything."""

    def __init__(self, port: int, scheme: str, login: tuple[str, str] | None) -> None:
        self.url = f"{scheme}://localhost:{port}"
        self.status = 200
        #: the paths of all requests for schemas by their ids
        self.asked: list[str] = []
        self._schemas: list[dict[str, Any]] = []
        self._subjects: dict[str, list[int]] = {}
        self._login = "Basic " + b64encode(":".join(login).encode()).decode() if login else None

    def register(self, subject: str, schema: str, kind: str = "AVRO", references: Any = None) -> int:
        """The id of a schema, as the API registers it."""
        entry = {"schema": schema, "schemaType": kind, "references": references or []}
        if entry not in self._schemas:
            self._schemas.append(entry)
        number = self._schemas.index(entry) + 1
        versions = self._subjects.setdefault(subject, [])
        if number not in versions:
            versions.append(number)
        return number

    def application(self) -> web.Application:
        application = web.Application(middlewares=[self._guarded], client_max_size=8 * 1024 * 1024)
        application.router.add_get("/schemas/types", self._types)
        application.router.add_get("/schemas/ids/{id}", self._by_id)
        application.router.add_post("/subjects/{subject}/versions", self._register)
        application.router.add_post("/subjects/{subject}", self._register)
        application.router.add_get("/subjects/{subject}/versions/{version}", self._by_version)
        return application

    @web.middleware
    async def _guarded(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if self.status != 200:
            return web.json_response({"error_code": self.status}, status=self.status)
        if self._login is not None and request.headers.get("Authorization") != self._login:
            return web.json_response({"error_code": 401, "message": "User cannot access"}, status=401)
        answer: web.StreamResponse = await handler(request)
        return answer

    async def _types(self, _: web.Request) -> web.Response:
        return web.json_response(["AVRO", "PROTOBUF", "JSON"])

    async def _by_id(self, request: web.Request) -> web.Response:
        self.asked.append(request.path_qs)
        number = int(request.match_info["id"])
        if not 1 <= number <= len(self._schemas):
            return web.json_response({"error_code": 40403, "message": "Schema not found"}, status=404)
        entry = dict(self._schemas[number - 1])
        if entry["schemaType"] == "AVRO":
            del entry["schemaType"]  # as the real one leaves it out
        return web.json_response(entry)

    async def _register(self, request: web.Request) -> web.Response:
        body, subject = await request.json(), request.match_info["subject"]
        number = self.register(subject, body["schema"], body.get("schemaType", "AVRO"), body.get("references"))
        version = self._subjects[subject].index(number) + 1
        return web.json_response({"id": number, "subject": subject, "version": version, "schema": body["schema"]})

    async def _by_version(self, request: web.Request) -> web.Response:
        subject, version = request.match_info["subject"], request.match_info["version"]
        numbers = self._subjects.get(subject, [])
        if not version.isdigit() or not 1 <= int(version) <= len(numbers):
            return web.json_response({"error_code": 40401}, status=404)
        number = numbers[int(version) - 1]
        return web.json_response(
            {"subject": subject, "version": int(version), "id": number, **self._schemas[number - 1]}
        )


@asynccontextmanager
async def schema_registry(
    *, tls: ssl.SSLContext | None = None, login: tuple[str, str] | None = None, port: int | None = None
) -> AsyncIterator[SchemaRegistryServer]:
    """A running registry."""
    chosen = port or free_port()
    server = SchemaRegistryServer(chosen, "https" if tls else "http", login)
    runner = web.AppRunner(server.application(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "localhost", chosen, ssl_context=tls).start()
    try:
        yield server
    finally:
        await runner.cleanup()
