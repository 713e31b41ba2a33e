"""An authorization server: tokens that a broker accepts, and the token endpoint that returns them."""

from __future__ import annotations

import base64
import json
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

AUDIENCE = "kafka"
CLIENT, SECRET = "hookstream", "client secret: %+/"


class TokenIssuer:
    """Signs JSON Web Tokens. Its public key is in a file that the broker reads."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._keys = folder / "jwks.json"
        numbers = self._key.public_key().public_numbers()
        key = {"kty": "RSA", "kid": "1", "alg": "RS256", "use": "sig", "n": _number(numbers.n), "e": _number(numbers.e)}
        self._keys.write_text(json.dumps({"keys": [key]}))

    @property
    def java_options(self) -> str:
        """JDK_JAVA_OPTIONS of the broker."""
        return f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={self._keys.as_uri()}"

    def properties(self, listener: str) -> dict[str, str]:
        """The broker's properties that make a listener accept tokens."""
        start = f"listener.name.{listener}"
        module = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;"
        handler = "org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler"
        return {
            f"{start}.sasl.enabled.mechanisms": "SCRAM-SHA-256,SCRAM-SHA-512,PLAIN,OAUTHBEARER",
            f"{start}.oauthbearer.sasl.jaas.config": module,
            f"{start}.oauthbearer.sasl.server.callback.handler.class": handler,
            f"{start}.oauthbearer.sasl.oauthbearer.jwks.endpoint.url": self._keys.as_uri(),
            f"{start}.oauthbearer.sasl.oauthbearer.expected.audience": AUDIENCE,
        }

    def token(self, *, life_s: float = 600, **claims: Any) -> str:
        """A signed token of the user `plain`."""
        now = time.time()
        payload = {"sub": "plain", "aud": AUDIENCE, "iat": int(now - 5), "exp": int(now + life_s)} | claims
        signed = f"{_text({'alg': 'RS256', 'kid': '1', 'typ': 'JWT'})}.{_text(payload)}"
        return f"{signed}.{_bytes(self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"

    @asynccontextmanager
    async def endpoint(self, life_s: float = 600) -> AsyncIterator[tuple[str, list[dict[str, str]]]]:
        """The URL of a token endpoint, and the forms that it has received."""
        asked: list[dict[str, str]] = []

        async def token(request: web.Request) -> web.Response:
            asked.append({name: str(value) for name, value in (await request.post()).items()})
            if request.headers.get("Authorization") != _LOGIN:
                refusal = {"error": "invalid_client", "error_description": "unknown client"}
                return web.json_response(refusal, status=401)
            granted = {"access_token": self.token(life_s=life_s), "token_type": "bearer", "expires_in": life_s}
            return web.json_response(granted)

        application = web.Application()
        application.router.add_post("/token", token)
        async with served(application) as base:
            yield f"{base}/token", asked


#: as RFC 6749 (2.3.1) wants it; written out, because the adapter has its own encoding
_LOGIN = "Basic " + base64.b64encode(b"hookstream:client+secret%3A+%25%2B%2F").decode()


@asynccontextmanager
async def served(application: web.Application, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """The base URL of a running application."""
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        yield f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def _bytes(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def _text(content: dict[str, Any]) -> str:
    return _bytes(json.dumps(content).encode())


def _number(number: int) -> str:
    return _bytes(number.to_bytes((number.bit_length() + 7) // 8))
