"""The read model's migrations are one chain: each follows another, and one is the last."""

from __future__ import annotations

import re

from alembic.script import ScriptDirectory

from app.adapters.sql.migrate import FOLDER


def test_the_migrations_are_one_chain_in_the_order_of_their_files() -> None:
    scripts = ScriptDirectory(str(FOLDER))
    in_order = [script.revision for script in scripts.walk_revisions("base", "head")][::-1]
    files = sorted(path.name for path in (FOLDER / "versions").glob("r[0-9]*.py"))
    assert [f"r{revision[:4]}" for revision in in_order] == [file[:5] for file in files]
    assert all(re.fullmatch(r"\d{4}(_since_\d{4})?", revision) for revision in in_order)
