"""Scripts and styles, read once. Their URLs contain a hash of the content, so browsers may cache them."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from app.api.problems import ApiError
from app.dashboard.request import StaticFile

FOLDER = Path(__file__).parent / "assets"
_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


class Assets:
    """All files of the folder, by name, with a hash in their URLs."""

    def __init__(self) -> None:
        paths = [path for path in sorted(FOLDER.rglob("*")) if path.suffix in _TYPES]
        self._files = {path.name: (path.read_bytes(), _TYPES[path.suffix]) for path in paths}
        self._prints = {name: sha256(body).hexdigest()[:12] for name, (body, _) in self._files.items()}

    def address(self, name: str) -> str:
        """The URL of a file."""
        stem, _, suffix = name.rpartition(".")
        return f"/ui/assets/{stem}.{self._prints[name]}.{suffix}"

    def file(self, asked: str) -> StaticFile:
        """The file for the last segment of a URL. Raises `ApiError` 404."""
        rest, _, suffix = asked.rpartition(".")
        stem, _, print_ = rest.rpartition(".")
        name = f"{stem}.{suffix}"
        if name not in self._files:
            raise ApiError(404, "not_found", "there is no such file")
        body, media_type = self._files[name]
        return StaticFile(body=body, media_type=media_type, lasting=print_ == self._prints[name])
