"""The client credentials grant of OAuth 2.0: a token for this client's id and secret (RFC 6749, 4.4)."""

from __future__ import annotations

import asyncio
import base64
import ssl
from typing import Any
from urllib.parse import quote_plus, urlsplit

import msgspec

from app.adapters.kafka.tokens import Token, TokenUnavailable, check_token, expiry
from app.adapters.kafka.watched_file import WatchedSecret
from app.core.errors import Defect
from app.core.kafka_connection import KafkaConnection
from app.core.kafka_sasl import setting
from app.ports.clock import Clock

_TIMEOUT_S = 10.0
_LONGEST_ANSWER = 65_536
#: seconds for which a token is used that does not say when it expires
_LIFE_S = 60.0
_LONGEST_LIFE_S = 1e9
_LONGEST_DETAIL = 200
_CLIENT = f"{setting('OAUTH_CLIENT_ID')} and {setting('OAUTH_CLIENT_SECRET')}"


class _Granted(msgspec.Struct):
    access_token: str
    token_type: str = "Bearer"
    #: some servers write it as text
    expires_in: float | str | None = None


class _Refused(msgspec.Struct):
    error: str = ""
    error_description: str = ""


class TokenEndpoint:
    """Asks the token endpoint of `HOOKSTREAM_KAFKA_OAUTH_TOKEN_URL`."""

    def __init__(self, connection: KafkaConnection, clock: Clock) -> None:
        if not (connection.oauth_token_url and connection.oauth_client_id and connection.oauth_client_secret):
            raise Defect("KafkaConnection has checked them")
        self._url = connection.oauth_token_url
        self._client = connection.oauth_client_id
        self._secret = WatchedSecret(connection.oauth_client_secret)
        self._scope = connection.oauth_scope
        self._ca_file = connection.oauth_ca_file
        self._clock = clock
        self._place = f"The token endpoint {urlsplit(self._url)._replace(query='', fragment='').geturl()}"

    async def obtain(self) -> Token:
        """A new token. Raises `TokenUnavailable`."""
        import aiohttp  # most commands need no token

        try:
            async with asyncio.timeout(_TIMEOUT_S):
                status, body = await self._ask()
        except TimeoutError as error:
            raise self._unreachable(f"no answer within {_TIMEOUT_S:g} s") from error
        except (aiohttp.ClientConnectorCertificateError, ssl.SSLError) as error:
            raise TokenUnavailable(
                f"{self._place} has a certificate that is not accepted ({_detail(str(error))}): "
                f"set {setting('OAUTH_CA_FILE')} to the certificate of its authority"
            ) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise self._unreachable(_detail(str(error)) or type(error).__name__) from error
        if status != 200:
            raise self._refusal(status, body)
        return self._token(body)

    async def _ask(self) -> tuple[int, bytes]:
        import aiohttp

        form = {"grant_type": "client_credentials"} | ({"scope": self._scope} if self._scope else {})
        context = ssl.create_default_context(cafile=self._ca_file)
        # id and secret are encoded as form fields, then joined (RFC 6749, 2.3.1)
        login = f"{quote_plus(self._client)}:{quote_plus(self._secret.current())}"
        headers = {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}", "Accept": "application/json"}
        options: dict[str, Any] = {"headers": headers, "data": form, "ssl": context, "allow_redirects": False}
        async with aiohttp.ClientSession() as session, session.post(self._url, **options) as response:
            body = bytearray()
            async for part in response.content.iter_any():
                body += part
                if len(body) > _LONGEST_ANSWER:
                    raise ValueError(f"its answer is longer than {_LONGEST_ANSWER} bytes")
            return response.status, bytes(body)

    def _token(self, body: bytes) -> Token:
        try:
            granted = msgspec.json.decode(body, type=_Granted)
            life_s = None if granted.expires_in is None else float(granted.expires_in)
            if life_s is not None and not abs(life_s) < _LONGEST_LIFE_S:
                raise ValueError("expires_in is out of range")
        except (msgspec.MsgspecError, ValueError) as error:
            raise TokenUnavailable(
                f"{self._place} answers without a usable access_token ({_detail(str(error))}): "
                f"check {setting('OAUTH_TOKEN_URL')}"
            ) from error
        if granted.token_type.lower() != "bearer":
            raise TokenUnavailable(f"{self._place} returns a token of type {_detail(granted.token_type)}, not Bearer")
        now_s = self._clock.now_ms() / 1000
        claimed = expiry(granted.access_token)
        expires_s = now_s + life_s if life_s is not None else claimed or now_s + _LIFE_S
        token = Token(granted.access_token, min(expires_s, claimed or expires_s))
        try:
            check_token(token, now_s)
        except TokenUnavailable as error:
            raise TokenUnavailable(
                f"{self._place} returns a token that cannot be used. {error}: check the clocks of both machines"
            ) from error
        return token

    def _unreachable(self, reason: str) -> TokenUnavailable:
        return TokenUnavailable(f"{self._place} cannot be used ({reason}): check {setting('OAUTH_TOKEN_URL')}")

    def _refusal(self, status: int, body: bytes) -> TokenUnavailable:
        try:
            refused = msgspec.json.decode(body, type=_Refused)
        except msgspec.MsgspecError:
            refused = _Refused()
        reason = _detail(": ".join(part for part in (refused.error, refused.error_description) if part))
        answer = f"{status}, {reason}" if reason else str(status)
        match refused.error:
            case "invalid_scope":
                remedy = f"check {setting('OAUTH_SCOPE')}"
            case "invalid_client" | "unauthorized_client":
                remedy = f"check {_CLIENT}"
            case _ if status == 401:
                remedy = f"check {_CLIENT}"
            case _:
                remedy = f"check {setting('OAUTH_TOKEN_URL')}"
        if status in (400, 401, 403):
            return TokenUnavailable(f"{self._place} refuses the client {self._client} ({answer}): {remedy}")
        return TokenUnavailable(f"{self._place} answers {answer}: {remedy}")


def _detail(text: str) -> str:
    printable = "".join(character if character.isprintable() else " " for character in text)
    return printable[:_LONGEST_DETAIL]
