"""Reads a request a line (see verify_requests.py) and writes what the snippet beside this file answers."""

from __future__ import annotations

import sys
from base64 import b64decode

import webhook_signature  # type: ignore[import-not-found] # written beside this file by the test

for line in sys.stdin:
    secret, body, *pairs = line.rstrip("\n").split("\t")
    headers = {name: b64decode(value).decode() for name, value in zip(pairs[::2], pairs[1::2], strict=True)}
    try:
        answer = str(webhook_signature.verify(headers, b64decode(body), b64decode(secret).decode())).lower()
    except Exception as error:
        answer = repr(error)
    print(answer, flush=True)
