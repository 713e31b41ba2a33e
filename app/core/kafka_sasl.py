"""Which settings each SASL mechanism of Kafka needs, and which contradict it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

#: of a mechanism: the settings that it reads
_PASSWORD = ("username", "password")
_OAUTH = (
    "oauth_token_url",
    "oauth_client_id",
    "oauth_client_secret",
    "oauth_scope",
    "oauth_ca_file",
    "oauth_token_file",
    "oauth_extensions",
)
_READS: Mapping[str, Sequence[str]] = {
    "PLAIN": _PASSWORD,
    "SCRAM-SHA-256": _PASSWORD,
    "SCRAM-SHA-512": _PASSWORD,
    "OAUTHBEARER": _OAUTH,
    "AWS_MSK_IAM": ("aws_region",),
}
SASL_MECHANISMS = tuple(_READS)
#: every setting of credentials
CREDENTIALS = (*_PASSWORD, *_OAUTH, "aws_region")

_LONGEST_EXTENSIONS = 1000
#: RFC 7628: a name of letters, and a value without control characters; `auth` is the token's own
_EXTENSION = re.compile(r"(?!auth=)[A-Za-z]{1,64}=[\t -~]{1,256}")
_REGION = re.compile(r"[a-z]{2,}(-[a-z0-9]+)+")


def setting(name: str) -> str:
    """The variable of a field of `KafkaConnection`."""
    return f"HOOKSTREAM_KAFKA_{name.upper()}"


def sasl_problems(values: Mapping[str, Any], *, security: str) -> Iterator[str]:
    """Problems of the mechanism and its credentials. `values`: field → value, of `sasl_mechanism` and `CREDENTIALS`."""
    mechanism = values["sasl_mechanism"]
    reason = f"{setting('SECURITY')}={security}"
    if not security.startswith("sasl"):
        yield from (
            f"{setting(name)}: {reason} does not use SASL; set sasl_ssl there"
            for name in ("sasl_mechanism", *CREDENTIALS)
            if values[name]
        )
        return
    if mechanism is None:
        yield f"{setting('SASL_MECHANISM')}: required by {reason}"
    elif mechanism not in _READS:
        yield f"{setting('SASL_MECHANISM')}: {mechanism!r} is not one of {', '.join(SASL_MECHANISMS)}"
        return
    else:
        chosen = f"{setting('SASL_MECHANISM')}={mechanism}"
        unread = [name for name in CREDENTIALS if name not in _READS[mechanism] and values[name]]
        yield from (f"{setting(name)}: {chosen} does not use it; remove one of them" for name in unread)
    if mechanism == "OAUTHBEARER":
        yield from _oauth_problems(values)
    elif mechanism == "AWS_MSK_IAM":
        yield from _msk_problems(values, security)
    elif mechanism is not None or not any(values[name] for name in (*_OAUTH, "aws_region")):
        yield from (f"{setting(name)}: required by {reason}" for name in _PASSWORD if values[name] is None)


def _oauth_problems(values: Mapping[str, Any]) -> Iterator[str]:
    url, file = values["oauth_token_url"], values["oauth_token_file"]
    required = f"required by {setting('SASL_MECHANISM')}=OAUTHBEARER"
    if file is not None:
        others = [name for name in _OAUTH[:5] if values[name]]
        yield from (
            f"{setting(name)}: not used with {setting('OAUTH_TOKEN_FILE')}; remove one of them" for name in others
        )
        if not file.is_file():
            yield f"{setting('OAUTH_TOKEN_FILE')}: {file} is not a file"
    elif url is None:
        yield f"{setting('OAUTH_TOKEN_URL')}: {required}, unless {setting('OAUTH_TOKEN_FILE')} is set"
    else:
        for name in ("oauth_client_id", "oauth_client_secret"):
            if values[name] is None:
                yield f"{setting(name)}: required by {setting('OAUTH_TOKEN_URL')}"
        yield from _url_problems(url)
        authority = values["oauth_ca_file"]
        if authority is not None and not authority.is_file():
            yield f"{setting('OAUTH_CA_FILE')}: {authority} is not a file"
    extensions: Sequence[str] = values["oauth_extensions"]
    if sum(map(len, extensions)) > _LONGEST_EXTENSIONS or not all(map(_EXTENSION.fullmatch, extensions)):
        yield f"{setting('OAUTH_EXTENSIONS')}: name=value, comma-separated, names of letters, 1000 characters in all"


def _url_problems(url: str) -> Iterator[str]:
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        parts, valid = urlsplit(""), False
    if not valid:
        yield f"{setting('OAUTH_TOKEN_URL')}: an address such as https://login.example.com/oauth2/token"
    elif parts.username is not None or parts.password is not None:
        yield f"{setting('OAUTH_TOKEN_URL')}: without user and password; set {setting('OAUTH_CLIENT_ID')}"


def _msk_problems(values: Mapping[str, Any], security: str) -> Iterator[str]:
    region = values["aws_region"]
    if region is None:
        yield f"{setting('AWS_REGION')}: required by {setting('SASL_MECHANISM')}=AWS_MSK_IAM"
    elif not _REGION.fullmatch(region):
        yield f"{setting('AWS_REGION')}: {region!r} is not a region such as eu-central-1"
    if security != "sasl_ssl":
        yield f"{setting('SECURITY')}: {setting('SASL_MECHANISM')}=AWS_MSK_IAM needs sasl_ssl"
