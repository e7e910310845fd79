# SPDX-License-Identifier: GPL-2.0-or-later
"""A cache that something went wrong with: lost power, or links put into it."""

from __future__ import annotations

from pathlib import Path

from lab.cache import META, Cache


def write(entry: Path, text: str) -> None:
    (entry / "file").write_text(text)


def test_an_entry_whose_description_was_lost_is_made_again(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    entry = cache.publish("kind", "key", lambda e: write(e, "half"))
    (entry / META).write_text("")
    assert cache.get("kind", "key") is None
    assert (cache.publish("kind", "key", lambda e: write(e, "whole")) / "file").read_text() == "whole"


def test_a_link_in_the_cache_goes_and_what_it_points_at_stays(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "precious").touch()
    cache = Cache(tmp_path / "cache")
    (cache.root / "kind").mkdir(parents=True)
    (cache.root / "kind" / ".tmp-key-99999999").symlink_to(other)
    (cache.root / "kind" / "key").symlink_to(other)
    assert cache.clean()
    cache.publish("kind", "key", lambda e: write(e, "x"))
    assert (other / "precious").exists() and not (cache.root / "kind" / "key").is_symlink()
