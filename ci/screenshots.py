# SPDX-License-Identifier: GPL-2.0-or-later
"""Pictures of a nightly's site for the documentation, taken by a browser without a screen.

Of SITE_DIR (the folder ``site`` of a nightly's output) the first page, and a version with its series and its
first variant, are taken: light, dark, and as narrow as a telephone. The version is TOPIC/vN, or the newest of
the first series that has a variant. OUT_DIR gets WebP files of fixed names, so that docs/nightly-site.md
shows the new ones. Needs Debian's package ``chromium``.

    python ci/screenshots.py SITE_DIR OUT_DIR [--version TOPIC/vN]
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

from lab.model.errors import BadInput, LabError, LabUnavailable
from lab.source.command import Done, run

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
TIMEOUT = 120.0
"""Seconds for one page on a loaded machine."""
LIMIT = 200_000
"""Bytes of one picture."""
WIDE, NARROW = 1280, 500
DARK = "--blink-settings=preferredColorScheme=0"


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture: of a page, in pixels."""

    name: str
    page: Path
    width: int
    height: int
    dark: bool = False


class _Links(HTMLParser):
    """Links of a page by their classes."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.page = page
        self.found: list[tuple[set[str], Path]] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        target, _, _ = unquote(values.get("href") or "").partition("#")
        if tag == "a" and target:
            self.found.append(((set((values.get("class") or "").split())), self.page.parent / target))

    def first(self, *classes: str) -> Path | None:
        return next((path for words, path in self.found if words >= set(classes)), None)


def find_browser() -> str:
    """The browser's path. LabUnavailable when there is none."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        raise LabUnavailable("no browser", hint="apt-get install --no-install-recommends chromium")
    return found


def browse(browser: str, page: Path, *options: str) -> Done:
    """Let the browser load a page without a screen; its folders go when it ends. Raises LabUnavailable."""
    with tempfile.TemporaryDirectory(prefix="hvlab-browser-", ignore_cleanup_errors=True) as home:
        words = [browser, "--headless", "--disable-gpu", "--hide-scrollbars", "--no-first-run"]
        words += ["--disable-breakpad", "--disable-dev-shm-usage", f"--user-data-dir={home}/profile"]
        # Chromium's own sandbox refuses to start as root.
        words += ["--no-sandbox"] if os.geteuid() == 0 else []
        words += [*options, page.resolve().as_uri()]
        env = {**os.environ, "HOME": home, "XDG_CONFIG_HOME": home, "XDG_CACHE_HOME": home, "TMPDIR": home}
        return run(words, what=f"looking at {page.name}", timeout=TIMEOUT, env=env)


def choose(site: Path, name: str | None = None) -> list[Shot]:
    """What to take of a site; ``name`` is the version's. BadInput when there is none."""
    index = site / "index.html"
    if not index.is_file():
        raise BadInput("no site: it has no index.html", where=str(site))
    links = _Links(index)
    shots = [Shot("index", index, WIDE, 1000), Shot("index-dark", index, WIDE, 1000, dark=True)]
    shots.append(Shot("index-narrow", index, NARROW, 1000))
    chip = links.first("chip", "fail") or links.first("chip")
    version = site / "series" / name / "index.html" if name else chip and chip.parent / "index.html"
    if version is None:
        return shots
    if not version.is_file():
        raise BadInput(f"no version {name}", where=str(site), hint="name it as the site does: TOPIC/vN")
    shots += [Shot("series", version.parent.parent / "index.html", WIDE, 1100)]
    shots += [Shot("version", version, WIDE, 1300)]
    variants = {path.name: path for _, path in _Links(version).found if path.parent == version.parent}
    variants.pop(version.name, None)
    for variant in list(variants.values())[:1]:
        shots += [Shot("variant", variant, WIDE, 1300), Shot("variant-narrow", variant, NARROW, 1300)]
    return shots


def take(browser: str, shot: Shot, folder: Path) -> Path:
    """Take a picture. LabUnavailable when none comes out, or one that is too big for the documentation."""
    target = folder.resolve() / f"{shot.name}.webp"
    target.unlink(missing_ok=True)
    options = [f"--window-size={shot.width},{shot.height}", f"--screenshot={target}"]
    done = browse(browser, shot.page, *options, *([DARK] if shot.dark else []))
    if not target.is_file() or target.stat().st_size == 0:
        raise LabUnavailable("the browser took no picture", where=str(shot.page), detail=done.err[-2000:])
    if target.stat().st_size > LIMIT:
        raise LabUnavailable(f"a picture of {target.stat().st_size} bytes (limit {LIMIT})", where=str(target))
    return target


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description="Pictures of a nightly's site for the documentation.")
    parser.add_argument("site", metavar="SITE_DIR", type=Path)
    parser.add_argument("out", metavar="OUT_DIR", type=Path)
    parser.add_argument("--version", metavar="TOPIC/vN", help="the version to show")
    args = parser.parse_args(argv)
    try:
        shots = choose(args.site, args.version)
        browser = find_browser()
        args.out.mkdir(parents=True, exist_ok=True)
        for shot in shots:
            print(take(browser, shot, args.out))
    except LabError as e:
        print(e, file=sys.stderr)
        return int(e.exit_code)
    return 0


if __name__ == "__main__":
    sys.exit(main())
