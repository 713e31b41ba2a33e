"""Tokens of Amazon MSK: requests that are signed with the AWS credentials of this process, and that MSK verifies."""

from __future__ import annotations

import asyncio
from importlib.util import find_spec

from app.adapters.kafka.tokens import Token, TokenUnavailable
from app.core.errors import ConfigError
from app.core.kafka_sasl import setting

#: credentials may come from the instance's metadata or from STS
_TIMEOUT_S = 30.0
_LONGEST_REASON = 300


class MskToken:
    """Signs tokens for clusters of one region, with the extra `msk`."""

    def __init__(self, region: str) -> None:
        """Raises `ConfigError` when the extra is not installed."""
        if find_spec("aws_msk_iam_sasl_signer") is None:
            raise ConfigError(
                [
                    f"{setting('SASL_MECHANISM')}: AWS_MSK_IAM needs a library that is not installed: "
                    'pip install "hookstream[msk]"'
                ]
            )
        self._region = region

    async def obtain(self) -> Token:
        """A new token. Raises `TokenUnavailable`."""
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                return await asyncio.to_thread(self._sign)
        except TimeoutError as error:
            raise TokenUnavailable(self._sentence(f"none within {_TIMEOUT_S:g} s")) from error

    def _sign(self) -> Token:
        from aws_msk_iam_sasl_signer import MSKAuthTokenProvider  # takes a third of a second

        try:
            text, expires_ms = MSKAuthTokenProvider.generate_auth_token(self._region)
        except Exception as error:  # of the library, botocore or urllib3
            raise TokenUnavailable(self._sentence(f"{type(error).__name__}: {error}"[:_LONGEST_REASON])) from error
        return Token(text, expires_ms / 1000)

    def _sentence(self, reason: str) -> str:
        return (
            f"No token for Amazon MSK in {self._region}, because this process has no AWS credentials ({reason}): "
            "give it a role, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
