# SPDX-License-Identifier: GPL-2.0-or-later
"""The site in a real browser: our style and our program pass its policy, and nothing else does."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pages
import pytest
import sample

from lab import paths
from lab.model.errors import LabUnavailable
from lab.report.site import write_site

NAMES = (
    "index.html",
    "series/mmio-on-demand/index.html",
    "series/mmio-on-demand/v2/index.html",
    "series/irqfd-rework/v1/plain.html",
)
REFUSED = re.compile(r"Refused to|violates the following Content Security Policy", re.IGNORECASE)
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
MEASURE = """<script>addEventListener("load", () => { document.title = "measured " +
document.documentElement.scrollWidth + " of " + innerWidth; });</script>"""
OURS = re.compile(r'<script src="[^"]*filter\.js" defer></script>')


def _screenshots() -> ModuleType:
    spec = importlib.util.spec_from_file_location("screenshots", paths.repo_root() / "ci" / "screenshots.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


screenshots = _screenshots()


@pytest.fixture(scope="module")
def browser() -> str:
    try:
        return str(screenshots.find_browser())
    except LabUnavailable as e:
        pytest.skip(f"{e.what}: {e.hint}")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out")
    pages.lay_out(sample.REPORT, folder)
    write_site(sample.REPORT, folder, pages.HISTORY)
    return folder


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evil")
    write_site(pages.poison(sample.REPORT), folder)
    return folder


def dom(browser: str, page: Path, *options: str) -> tuple[str, str]:
    """The page as it stands once its programs ran, and what the browser had to say."""
    done = screenshots.browse(browser, page, "--enable-logging=stderr", "--dump-dom", *options)
    return done.out, done.err


@pytest.mark.parametrize("name", NAMES)
def test_the_browser_refuses_nothing_of_a_page(browser: str, out: Path, name: str) -> None:
    text, said = dom(browser, out / "site" / name)
    assert "<main" in text
    assert not REFUSED.search(said), said


def test_the_browser_refuses_what_is_not_ours(browser: str, out: Path, tmp_path: Path) -> None:
    text = (out / "site" / "index.html").read_text()
    (tmp_path / "index.html").write_text(text.replace("<main", "<script>document.title='run'</script><main"))
    text, said = dom(browser, tmp_path / "index.html")
    assert REFUSED.search(said), "or the test above could not fail"
    assert "<title>run" not in text


def test_the_filter_shows_itself_and_works(browser: str, out: Path, tmp_path: Path) -> None:
    text, _ = dom(browser, out / "site" / "index.html")
    finder = re.search(r'<p class="finder"[^>]*>', text)
    assert finder is not None and "hidden" not in finder[0]
    page = tmp_path / "index.html"
    typed = "const box = document.querySelector('input'); box.value = 'IRQFD';"
    typed += "box.dispatchEvent(new Event('input'));"
    source = POLICY.sub("", (out / "site" / "index.html").read_text())
    page.write_text(source.replace("</body>", "<script defer src='typed.js'></script></body>"))
    (tmp_path / "filter.js").write_text((out / "site" / "filter.js").read_text())
    (tmp_path / "typed.js").write_text(typed)
    text, _ = dom(browser, page)
    table = text[text.index('<table id="series"') :]
    rows = re.findall(r"<tr([^>]*)>", table[table.index("<tbody") : table.index("</tbody")])
    assert ["hidden" in attributes for attributes in rows] == [True, False, True]
    assert "1 of 3" in text


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("width", [500, 1280])
def test_no_page_is_wider_than_its_window(
    browser: str, out: Path, tmp_path: Path, name: str, width: int
) -> None:
    assert measured(browser, out / "site" / name, tmp_path, width) <= width


def test_hostile_text_makes_no_page_wider(browser: str, evil: Path, tmp_path: Path) -> None:
    kinds: dict[tuple[int, bool], Path] = {}
    for page in sorted((evil / "site").rglob("*.html"), key=lambda p: p.stat().st_size):
        kinds[len(page.relative_to(evil).parts), page.name == "index.html"] = page
    assert len(kinds) == len(NAMES), "the longest page of each kind"
    for page in kinds.values():
        assert measured(browser, page, tmp_path, 500) <= 500, page


def measured(browser: str, page: Path, folder: Path, width: int) -> int:
    """How wide a page is in a window of ``width`` pixels, by a program of the test's own in a copy."""
    copy = folder / "page.html"
    source = OURS.sub("", POLICY.sub("", page.read_text()))
    copy.write_text(source.replace("</head>", f"{MEASURE}</head>"))
    text, _ = dom(browser, copy, f"--window-size={width},900")
    found = re.search(r"<title>measured (\d+) of (\d+)</title>", text)
    assert found is not None, text[:400]
    assert int(found[2]) == width
    return int(found[1])


def test_pictures_of_what_is_no_site_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert screenshots.main([str(tmp_path), str(tmp_path / "out")]) == 2
    assert "no site: it has no index.html" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_pictures_for_the_documentation_come_out(browser: str, out: Path, tmp_path: Path) -> None:
    assert screenshots.main([str(out / "site"), str(tmp_path)]) == 0
    shown = set(
        re.findall(r"\(site/([\w.-]+)\)", (paths.repo_root() / "docs" / "nightly-site.md").read_text())
    )
    assert {p.name for p in tmp_path.iterdir()} == shown
