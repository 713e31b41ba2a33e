"""An OAuth 2.0 server and a receiver behind it, of others and in a process of their own: Authlib on Flask.

`python -m tests.oauth_server PORT`. Besides `/token` and the protected `/hook` it has `/seen` (what the receiver has
accepted), `/requests` (headers and bodies of what `/hook` has), `/tokens` (how many were issued), `/revoke` (revokes
all of them) and `/basic`, which asks for a password.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.ports import free_port
from tests.server_process import server_process

CLIENT, SECRET, AUDIENCE = "hook:stream", "client s3cr3t: %+/", "https://hooks.example"
USER, PASSWORD = "hooks", "p4ssw0rd-of-acme"


def _serve(port: int) -> None:
    from authlib.integrations.flask_oauth2 import AuthorizationServer, ResourceProtector
    from authlib.oauth2.rfc6749 import ClientMixin, TokenMixin
    from authlib.oauth2.rfc6749.grants import ClientCredentialsGrant
    from authlib.oauth2.rfc6750 import BearerTokenValidator
    from flask import Flask, Response, jsonify, request

    class Client(ClientMixin):
        def get_client_id(self) -> str:
            return CLIENT

        def get_allowed_scope(self, scope: str | None) -> str:
            return " ".join(each for each in (scope or "").split() if each == "hooks.write")

        def check_client_secret(self, client_secret: str) -> bool:
            return client_secret == SECRET

        def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
            return endpoint == "token" and method in ("client_secret_basic", "client_secret_post")

        def check_grant_type(self, grant_type: str) -> bool:
            return grant_type == "client_credentials"

    class Token(TokenMixin):
        def __init__(self, scope: str) -> None:
            self.scope = scope
            self.revoked = False

        def get_scope(self) -> str:
            return self.scope

        def get_expires_in(self) -> int:
            return 3600

        def is_expired(self) -> bool:
            return False

        def is_revoked(self) -> bool:
            return self.revoked

    tokens: dict[str, Token] = {}
    seen: list[str] = []
    requests: list[dict[str, object]] = []

    def save(token: dict[str, str], _request: object) -> None:
        tokens[token["access_token"]] = Token(token.get("scope", ""))

    class Validator(BearerTokenValidator):
        def authenticate_token(self, token_string: str) -> Token | None:
            return tokens.get(token_string)

    class Grant(ClientCredentialsGrant):
        TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_basic", "client_secret_post")

    application = Flask(__name__)
    client = {CLIENT: Client()}
    server = AuthorizationServer(application, query_client=client.get, save_token=save)
    server.register_grant(Grant)
    protected = ResourceProtector()
    protected.register_token_validator(Validator())

    @application.post("/token")
    def token() -> Response:
        if request.form.get("audience") != AUDIENCE:
            return Response('{"error": "invalid_target"}', 400, content_type="application/json")
        answer: Response = server.create_token_response()
        return answer

    @application.post("/hook")
    @protected("hooks.write")  # type: ignore[untyped-decorator]
    def hook() -> str:
        requests.append({"headers": dict(request.headers), "body": request.get_data(as_text=True)})
        seen.append(request.headers["webhook-id"])
        return ""

    @application.post("/basic")
    def basic() -> Response:
        given = request.authorization
        if given is None or given.type != "basic" or (given.username, given.password) != (USER, PASSWORD):
            return Response("", 401)
        seen.append(request.headers["webhook-id"])
        return Response("")

    @application.get("/seen")
    def list_seen() -> Response:
        return jsonify(seen)

    @application.get("/requests")
    def list_requests() -> Response:
        return jsonify(requests)

    @application.get("/tokens")
    def count() -> Response:
        return jsonify(len(tokens))

    @application.post("/revoke")
    def revoke() -> str:
        for each in tokens.values():
            each.revoked = True
        return ""

    application.run(host="127.0.0.1", port=port, threaded=True)


@asynccontextmanager
async def oauth_server() -> AsyncIterator[str]:
    """Its base URL, as long as the context."""
    port = free_port()
    environment = os.environ | {"AUTHLIB_INSECURE_TRANSPORT": "1"}
    async with server_process(port, "tests.oauth_server", str(port), env=environment):
        yield f"http://127.0.0.1:{port}"


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
