# SPDX-License-Identifier: GPL-2.0-or-later
"""Base fixes: what the table takes, who gets them, and that a series which has one goes without."""

import io
import subprocess

import pytest

from lab import paths
from lab.build.flavours import load as load_flavours
from lab.cache import Cache
from lab.model.errors import BadInput, SeriesDoesNotApply
from lab.model.series import KernelVersion
from lab.progress import NullProgress
from lab.series import apply, fixes, load

TABLE = """
[five]
why = "a5 must be five: the report ends lockdep"
claim = "C99"
flavours = ["debug"]
fits = "7.3"

[last]
why = "a30 must be thirty: the report comes at boot"
flavours = ["debug", "lockdep"]
fits = "7.2-7.3"
boot = true
"""


def mail(tiny, old, new, subject):
    """A patch of a.c made on the pristine tree."""
    tiny.git("checkout", "-q", "-B", "work", tiny.base)
    tiny.edit("drivers/hv/a.c", old, new)
    tiny.commit(subject)
    text = tiny.git("format-patch", "-1", "--stdout", "--zero-commit")
    tiny.git("checkout", "-q", "main")
    return text


@pytest.fixture
def table(tiny, tmp_path):
    (tmp_path / "fixes").mkdir()
    (tmp_path / "fixes/five.patch").write_text(mail(tiny, "int a5;", "int a5 = 5;", "hv: five"))
    (tmp_path / "fixes/last.patch").write_text(mail(tiny, "int a30;", "int a30 = 30;", "hv: thirty"))
    path = tmp_path / "fixes.toml"
    path.write_text(TABLE)
    return path


@pytest.fixture
def applier(tiny, tmp_path):
    (tmp_path / "source").mkdir()
    source = tiny.source(tmp_path / "source")
    return lambda series: apply(source, series, Cache(tmp_path / "cache"), NullProgress())


def text_of(fixed):
    return (fixed.applied.overlay / "drivers/hv/a.c").read_text()


def series_of(text):
    return load("-", None, io.BytesIO(text.encode()))


def test_flavour_and_version_choose(table):
    both = fixes.load(table)
    names = [
        [f.name for f in fixes.wanted(both, flavour, KernelVersion(7, minor))]
        for flavour, minor in (("debug", 3), ("lockdep", 3), ("debug", 2), ("plain", 3), ("debug", 4))
    ]
    assert names == [["five", "last"], ["last"], ["last"], [], []]
    assert [f.boot for f in both] == [False, True]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("claim =", "claims =", "unknown key 'claims'"),
        ('why = "a5 must be five: the report ends lockdep"\n', "", "why is missing"),
        ('flavours = ["debug"]', 'flavours = "debug"', "must be a list"),
        ('fits = "7.3"', 'fits = "newest"', "not a kernel version range"),
        ("boot = true", "boot = 1", "true or false"),
        ("[five]", "[six]", "its patch is missing"),
        ("[five]", "[five", "not a table of base fixes"),
    ],
)
def test_damaged_table_is_refused(table, old, new, said):
    table.write_text(TABLE.replace(old, new, 1))
    with pytest.raises(BadInput, match=said):
        fixes.load(table)


def test_base_gets_every_fix(table, applier):
    fixed = fixes.put_on(None, fixes.load(table), applier)
    assert fixed.names == ("five", "last") and not fixed.left_out
    assert "int a5 = 5;" in text_of(fixed) and "int a30 = 30;" in text_of(fixed)


def test_without_fixes_nothing_is_applied(applier):
    assert fixes.put_on(None, (), applier).applied is None


def test_series_that_fixes_it_alike_goes_without(tiny, table, applier):
    series = series_of(mail(tiny, "int a5;", "int a5 = 5;", "hv: my own five"))
    fixed = fixes.put_on(series, fixes.load(table), applier)
    assert fixed.names == ("last",)
    assert "has it already" in fixed.left_out["five"]
    assert "int a5 = 5;" in text_of(fixed) and "int a30 = 30;" in text_of(fixed)


def test_series_that_fixes_it_otherwise_goes_without(tiny, table, applier):
    series = series_of(mail(tiny, "int a5;", "long five_otherwise;", "hv: no a5"))
    fixed = fixes.put_on(series, fixes.load(table), applier)
    assert fixed.names == ("last",)
    assert "does not apply on top of" in fixed.left_out["five"]
    assert "five_otherwise" in text_of(fixed)


def test_series_that_does_not_apply_is_its_own_failure(tiny, table, applier):
    series = series_of(mail(tiny, "int a5;", "int a5 = 5;", "x").replace(" int a4;", " int b4;"))
    with pytest.raises(SeriesDoesNotApply):
        fixes.put_on(series, fixes.load(table), applier)


def test_the_labs_own_table_is_sound():
    """Known flavours, clean mails, and boot fixes that stay out of the driver's module."""
    folder = paths.images_dir() / "kernel"
    own = fixes.table()
    assert [f.claim for f in own if f.name == "isr-wake"] == ["C21"]
    known = set(load_flavours(folder / "flavours.toml"))
    for fix in own:
        assert set(fix.flavours) <= known
        for patch in fixes.patches(fix):
            assert "hvlab developers" in patch.author
            inside = [f for f in patch.files if f.startswith("drivers/hv/mshv_")]
            assert (not inside) if fix.boot else (inside == list(patch.files))
    assert {p.stem for p in (folder / "fixes").glob("*.patch")} == {f.name for f in own}


def test_own_patches_carry_no_commit_of_ours():
    for path in (paths.images_dir() / "kernel" / "fixes").glob("*.patch"):
        assert path.read_text().startswith("From " + "0" * 40)
        argv = ["git", "mailinfo", "/dev/null", "/dev/null"]
        subprocess.run(argv, input=path.read_bytes(), check=True, capture_output=True)
