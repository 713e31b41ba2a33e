"""`python -m monitoring` writes all generated files of monitoring; `make generate` calls it, too."""

from __future__ import annotations

from monitoring.files import FILES

for path, text in FILES.items():
    path.parent.mkdir(exist_ok=True)
    path.write_text(text(), encoding="utf-8")
