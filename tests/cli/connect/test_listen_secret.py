"""The signing secrets of `hookstream listen`."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.cli.connect.listen_secret import listen_secret
from app.core.errors import ConfigError
from app.profiles.catalog import PROFILES


def test_a_secret_stays_the_same_and_belongs_to_one_machine_tenant_and_mode(tmp_path: Path) -> None:
    here, there = tmp_path / "a" / "hookstream", tmp_path / "b"
    first = listen_secret(here, "acme", "live")
    assert listen_secret(here, "acme", "live") == first
    others = [
        listen_secret(here, "acme", "test"),
        listen_secret(here, "other", "live"),
        listen_secret(there, "acme", "live"),
    ]
    assert len({first, *others}) == 4
    assert (here / "listen.key").stat().st_mode & 0o077 == 0


def test_every_profile_takes_it(tmp_path: Path) -> None:
    for profile in PROFILES.values():
        assert len(profile.key(listen_secret(tmp_path, "acme", "live"))) >= 32


def test_a_damaged_key_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "listen.key").write_text("short")
    with pytest.raises(ConfigError, match=r"listen\.key does not hold a key: remove it"):
        listen_secret(tmp_path, "acme", "live")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="--secret-file"):
        listen_secret(tmp_path / "file", "acme", "live")
