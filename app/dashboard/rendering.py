"""Renders templates to HTML with autoescaping, which no template switches off."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from app.core.model.endpoint_kind import title_of
from app.core.model.tenant import Brand
from app.core.model.timestamps import iso
from app.dashboard import labels
from app.dashboard.assets import Assets
from app.dashboard.request import PageRequest, TemplatePage
from app.ports.clock import Clock
from app.ports.registry import DirectoryFeed

TEMPLATES = Path(__file__).parent / "templates"


class Renderer:
    """All templates, compiled once."""

    def __init__(self, feed: DirectoryFeed, clock: Clock, assets: Assets, *, version: str) -> None:
        self._feed = feed
        self._clock = clock
        self.assets = assets
        self._environment = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=select_autoescape(default=True, default_for_string=True),
            undefined=StrictUndefined,
            auto_reload=False,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {
            "json": pretty,
            "moment": iso,
            "ms": labels.duration,
            "share": labels.share,
            "outcome": labels.outcome,
            "outcome_name": labels.outcome_name,
            "number": labels.number,
            "change": labels.change,
            "urlencode": _quoted,
            "endpoint_title": title_of,
        }
        self._environment.globals |= {"asset": assets.address, "version": version}

    def page(self, page: TemplatePage, visit: PageRequest) -> str:
        """The response of a result; for htmx an error is only a notice."""
        name = "notice.html" if visit.partial and page.template == "error.html" else page.template
        return self._environment.get_template(name).render(self._values(visit) | dict(page.values))

    def part(self, template: str, **values: Any) -> str:
        """A part of a page as HTML, for a stream."""
        return self._environment.get_template(template).render(values)

    def brand(self, visit: PageRequest) -> Brand | None:
        """The brand of the tenant's portal; None outside the portal, or without a brand."""
        tenant = self._feed.directory.tenants.get(visit.caller.tenant) if visit.is_portal else None
        return tenant.brand if tenant is not None else None

    def _values(self, visit: PageRequest) -> dict[str, Any]:
        brand = self.brand(visit)
        tenant = self._feed.directory.tenants.get(visit.caller.tenant)
        return {
            "visit": visit,
            "base": visit.base,
            "csrf": visit.csrf,
            "caller": visit.caller,
            "brand": brand,
            "tenant_name": (tenant.name if tenant else "") or visit.caller.tenant,
            "now_ms": self._clock.now_ms(),
            "done": labels.DONE.get(visit.query.get("done", ""), ""),
            "errors": defaultdict(str),
        }


def _quoted(value: object) -> str:
    """Percent-encode a path segment. Jinja's own filter leaves slashes, which an id may contain."""
    return quote(str(value), safe="")


def pretty(value: Any) -> str:
    """JSON with line breaks and indentation; other text is returned unchanged."""
    if isinstance(value, bytes | str):
        try:
            return (
                msgspec.json.format(value, indent=2).decode()
                if isinstance(value, bytes)
                else msgspec.json.format(value, indent=2)
            )
        except (msgspec.DecodeError, UnicodeDecodeError):
            return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
