# SPDX-License-Identifier: GPL-2.0-or-later
"""A reader of HTML pages that does not forgive."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "br", "input", "img", "link", "base", "path", "circle", "rect", "line", "use"}
BLOCKS = {"td", "th", "dt", "dd", "li", "div", "p", "h1", "h2", "h3"}


class Page(HTMLParser):
    """Collects what a page is made of, and checks that its elements close in order."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.source = source
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self.feed(source)
        self.close()
        assert self.open == [], f"left open: {self.open}"

    @property
    def names(self) -> list[str]:
        """What elements there are, in their order."""
        return [name for name, _ in self.tags]

    @property
    def text(self) -> str:
        """All words, with single spaces."""
        return " ".join("".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        assert len(values) == len(attrs), f"<{tag}> has an attribute twice"
        assert not any(name.startswith("on") for name in values), f"<{tag}> runs something"
        self.tags.append((tag, values))
        self.words += [" "] if tag in BLOCKS else []
        self.ids += [values["id"] or ""] if "id" in values else []
        self.links += [values[name] or "" for name in ("href", "src") if name in values]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"
        self.words += [" "] if tag in BLOCKS else []

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.words.append(data)
