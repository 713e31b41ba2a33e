"""The beginning of a body that its sender has compressed, although nobody asked for it."""

from __future__ import annotations

import zlib


def inflated(body: bytes, encoding: str, most: int) -> bytes | None:
    """At most `most` bytes of what a gzip or deflate body holds; None: it is compressed in another way, or not at all.

    No more is ever inflated, so a bomb costs nothing. `body` may be a beginning, too.
    """
    windows = {"gzip": (31,), "x-gzip": (31,), "deflate": (15, -15)}.get(encoding.strip().lower(), ())
    for window in windows:
        try:
            return zlib.decompressobj(window).decompress(body, most)
        except zlib.error:
            continue
    return None
