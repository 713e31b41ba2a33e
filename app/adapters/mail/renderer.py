"""`app.ports.mail.EmailRenderer` on Jinja2, with the templates beside this file."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from app.core.email import EmailDigest

_FOLDER = Path(__file__).parent / "templates"


class TemplateRenderer:
    """Reads its templates once, at construction."""

    def __init__(self) -> None:
        # The text template needs no escaping: its values are single lines without control characters.
        options = {"undefined": StrictUndefined, "trim_blocks": True, "lstrip_blocks": True}
        loader = FileSystemLoader(_FOLDER)
        self._text = Environment(loader=loader, autoescape=False, **options).get_template("notices.txt")  # type: ignore[arg-type]
        self._html = Environment(loader=loader, autoescape=True, **options).get_template("notices.html")  # type: ignore[arg-type]

    def text(self, letter: EmailDigest) -> str:
        """See `app.ports.mail.EmailRenderer`."""
        return self._text.render(letter=letter)

    def html(self, letter: EmailDigest) -> str:
        """See `app.ports.mail.EmailRenderer`."""
        return self._html.render(letter=letter)
