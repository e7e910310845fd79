# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the pages of the site lie, and links from one to another that work from a file system too."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from lab.model.nightly import VariantResult, VersionReport

SITE = "site"
"""The site's folder in the output of a nightly run."""
INDEX = "index.html"
_LONGEST = 80
_UNFIT = re.compile(r"[^A-Za-z0-9+_.@=-]+")


@dataclass(frozen=True, slots=True)
class Places:
    """Paths of pages, relative to the site's folder: of a topic, a version's id, a variant of it."""

    topics: dict[str, str]
    versions: dict[str, str]
    variants: dict[tuple[str, str], str]


@dataclass(frozen=True, slots=True)
class Links:
    """Links from one page. A method returns "" where there is nothing to link to."""

    places: Places
    page: str
    out: Path

    def index(self) -> str:
        """The first page."""
        return self._to(INDEX)

    def script(self) -> str:
        """The program that filters tables."""
        return self._to("filter.js")

    def topic(self, topic: str) -> str:
        """A series' page."""
        return self._to(self.places.topics.get(topic, ""))

    def version(self, version: VersionReport) -> str:
        """A version's page."""
        return self._to(self.places.versions.get(version.series.id, ""))

    def before(self, version: VersionReport) -> str:
        """The page of the version that this one is held against."""
        before = f"{version.series.topic}/v{version.delta.before}" if version.delta else ""
        return self._to(self.places.versions.get(before, ""))

    def variant(self, version: VersionReport, result: VariantResult) -> str:
        """The page of a version's variant."""
        return self._to(self.places.variants.get((version.series.id, result.variant.id), ""))

    def file(self, folder: str, name: str) -> str:
        """A file of the output; "" unless it is there and inside."""
        path = posixpath.normpath(posixpath.join(folder, name))
        if not folder or path.startswith(("/", "../")) or "\0" in path:
            return ""
        try:
            there = (self.out / path).resolve(strict=True)
            inside = there.is_relative_to(self.out.resolve()) and there.is_file()
        except (OSError, ValueError):
            return ""
        return self._to(posixpath.join("..", path)) if inside else ""

    def _to(self, path: str) -> str:
        if not path:
            return ""
        # The "./" keeps a name with a colon from being read as a scheme.
        relative = posixpath.relpath(path, posixpath.dirname(self.page) or ".")
        return quote(f"./{relative}", safe="/+@=~")


def places(versions: Iterable[VersionReport]) -> Places:
    """A page for each topic, version and variant; names are safe, and differ also without their case."""
    found = Places({}, {}, {})
    folders: set[str] = set()
    for version in versions:
        series = version.series
        if series.topic not in found.topics:
            found.topics[series.topic] = f"series/{_name(series.topic, folders)}/{INDEX}"
        folder = posixpath.join(posixpath.dirname(found.topics[series.topic]), f"v{series.version}")
        found.versions[series.id] = f"{folder}/{INDEX}"
        taken = {"index"}
        for result in version.variants:
            name = _name(result.variant.id, taken)
            found.variants[series.id, result.variant.id] = f"{folder}/{name}.html"
    return found


def _name(text: str, taken: set[str]) -> str:
    stem = _UNFIT.sub("-", text)[:_LONGEST].lstrip(".-") or "unnamed"
    name, number = stem, 1
    while name.casefold() in taken:
        number += 1
        name = f"{stem}-{number}"
    taken.add(name.casefold())
    return name
