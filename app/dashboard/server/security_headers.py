"""The headers that keep a page from being framed, scripted, sniffed or leaked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

import msgspec

from app.core.model.tenant import Brand


class FramePolicy(msgspec.Struct, frozen=True):
    """The origins whose pages may embed the portal in a frame."""

    origins: Sequence[str] = ()


def headers_of(brand: Brand | None, frames: FramePolicy, *, portal: bool) -> dict[str, str]:
    """The Content-Security-Policy of a page: no inline scripts, and no foreign resources except a brand's logo."""
    ancestors = " ".join(frames.origins) if portal and frames.origins else "'none'"
    logo = urlsplit(brand.logo) if brand is not None and brand.logo.startswith("https://") else None
    images = "'self' data:" + (f" https://{logo.netloc}" if logo is not None else "")
    policy: Mapping[str, str] = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": images,
        "connect-src": "'self'",
        "font-src": "'none'",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": ancestors,
    }
    headers = {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    }
    return headers if ancestors != "'none'" else headers | {"X-Frame-Options": "DENY"}
