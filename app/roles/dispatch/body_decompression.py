"""The beginning of a response body that the receiver has compressed, although requests ask for no compression."""

from __future__ import annotations

import zlib


def decompress(body: bytes, encoding: str, max_bytes: int) -> bytes | None:
    """The first `max_bytes` bytes of a gzip or deflate body; None when it cannot be decompressed.

    Decompression stops there, so a decompression bomb costs nothing. `body` may be truncated.
    """
    windows = {"gzip": (31,), "x-gzip": (31,), "deflate": (15, -15)}.get(encoding.strip().lower(), ())
    for window in windows:
        try:
            return zlib.decompressobj(window).decompress(body, max_bytes)
        except zlib.error:
            continue
    return None
