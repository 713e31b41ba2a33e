"""Pull endpoints in files: applied without a URL, exported, and found unchanged."""

from __future__ import annotations

from tests.cli.configuration.runs import Commands
from tests.dashboard.stage import KEYS, Stage

ACME = KEYS["acme", "live"]
FILE = """
endpoints:
  - {uid: agent, kind: pull, events: ["a.*"]}
"""


async def test_a_pull_endpoint_is_applied_exported_and_found_unchanged(stage: Stage, commands: Commands) -> None:
    done = await commands.apply(FILE, "--dry-run", key=ACME)
    assert done.code == 2, done.err
    done = await commands.apply(FILE, key=ACME)
    assert done.code == 0, done.err
    (endpoint,) = stage.feed.directory.endpoints("acme", "live")
    assert (endpoint.kind, endpoint.url, endpoint.uid) == ("pull", "", "agent")
    exported = await commands("export", key=ACME)
    assert exported.code == 0 and "kind: pull" in exported.out
    assert "url:" not in exported.out and "schedule" not in exported.out
    again = await commands.apply(exported.out, "--dry-run", key=ACME)
    assert again.code == 0, again.out
    changed = await commands.apply(FILE.replace("a.*", "b.*"), key=ACME)
    assert changed.code == 0, changed.err
    (endpoint,) = stage.feed.directory.endpoints("acme", "live")
    assert endpoint.events == ("b.*",)
