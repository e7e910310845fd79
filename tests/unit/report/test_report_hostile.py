# SPDX-License-Identifier: GPL-2.0-or-later
"""Text from strangers in every voice: it can neither move a terminal's cursor nor become markup."""

from __future__ import annotations

import dataclasses
import io
import json
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from typing import Any

import pytest

from lab.model.result import ValidateResult
from lab.printable import printable
from lab.progress import TextProgress
from lab.report import html, junit, mail, result_json, terminal

EVIL = (
    "</pre><script>x</script>&<img src=x onerror=y>\x1b]0;t\x07\x1b[2J\x9b31m\x00\r\u202eevil\u2066\ud800]]>"
)
FORBIDDEN = "\x1b\x07\x9b\x00\r\u202e\u2066\ud800"


def poison(value: Any) -> Any:
    """The same structure with EVIL behind every text that comes from outside."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        kept = ("side", "started", "files")
        names = [f.name for f in dataclasses.fields(value) if f.init and f.name not in kept]
        return dataclasses.replace(value, **{n: poison(getattr(value, n)) for n in names})
    if type(value) is str:
        return value + EVIL
    if isinstance(value, (tuple, list)):
        return type(value)(poison(v) for v in value)
    if isinstance(value, dict):
        return {k: poison(v) for k, v in value.items()}
    return value


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        assert not [name for name, _ in attrs if name.startswith("on")]


@pytest.fixture
def evil(result: ValidateResult) -> ValidateResult:
    found = poison(result)
    assert isinstance(found, ValidateResult)
    return found


def test_no_voice_lets_control_characters_through(evil: ValidateResult) -> None:
    voices = {
        "terminal": terminal.table(evil),
        "html": html.page(evil, {"base/console.log": EVIL}),
        "junit": junit.xml(evil),
        "mail": mail.text(evil),
        "json": result_json.dumps(evil),
    }
    for voice, text in voices.items():
        assert [c for c in FORBIDDEN if c in text] == [], voice
        text.encode()
    ET.fromstring(voices["junit"])
    json.loads(voices["json"])


def test_the_page_has_no_script_and_no_picture_from_a_guest(evil: ValidateResult) -> None:
    tags = Tags()
    tags.feed(html.page(evil, {"base/console.log": EVIL, EVIL: EVIL}))
    assert not tags.seen & {"script", "img", "iframe", "object", "base", "form"}


def test_progress_and_errors_do_not_reach_the_terminal_raw() -> None:
    out = io.StringIO()
    progress = TextProgress(out)
    progress.note(EVIL)
    progress.step(1, 2, EVIL)
    assert not [c for c in "\x1b\x07\x9b\x00\u202e\ud800" if c in out.getvalue()]


def test_printable_keeps_what_people_write() -> None:
    assert printable("a\tb\nGr\u00fc\u00dfe \u4e2d\r\n") == "a\tb\nGr\u00fc\u00dfe \u4e2d\n"
