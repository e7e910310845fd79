# SPDX-License-Identifier: GPL-2.0-or-later
"""Warnings of the compiler: read from logs, carried over with objects, compared between two builds."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.build import warnings
from lab.judge.warnings import new_warnings
from lab.model.kernel import KernelImage

HV = "drivers/hv"
UNUSED = "'f' defined but not used [-Wunused-function]"
LOG = f"""\
make: Entering directory '/src'
  CC [M]  {HV}/a.o
/src/{HV}/a.c: In function 'g':
/src/{HV}/a.c:12:13: warning: {UNUSED}
   12 | static void f(void)
/src/{HV}/a.h:3: warning: "X" redefined
/src/{HV}/a.h:3: warning: "X" redefined
WARNING: vmlinux.o is missing.
/src/{HV}/a.c:14:2: error: not a warning: at all
  CC      {HV}/b.o
"""


@pytest.mark.parametrize(
    "place", ["/src/", "../src/", "/home/somebody/.cache/hvlab/nosandbox/src/", ""], ids=str
)
def test_warnings_name_file_and_line_wherever_the_source_is(place: str) -> None:
    log = f"{place}{HV}/src/a.c:12:13: warning: {UNUSED}"
    assert warnings.parse([log]) == (f"{HV}/src/a.c:12: {UNUSED}",) or not place


def test_each_warning_is_told_once_and_nothing_else_is_one() -> None:
    assert warnings.parse(LOG.splitlines()) == (f"{HV}/a.c:12: {UNUSED}", f'{HV}/a.h:3: "X" redefined')


def test_warnings_of_objects_that_were_not_compiled_again_are_carried_over(tmp_path: Path) -> None:
    (tmp_path / "build.log").write_text(LOG)
    gone, stays = f"{HV}/b.c:1: gone", f"{HV}/c.c:2: stays"
    warnings.keep(tmp_path, [gone, stays])
    assert warnings.read(tmp_path) == (stays, f"{HV}/a.c:12: {UNUSED}", f'{HV}/a.h:3: "X" redefined')


def test_warnings_of_an_image_are_those_of_its_module_or_of_itself(tmp_path: Path) -> None:
    whole, module = tmp_path / "whole", tmp_path / "module"
    for folder, text in ((whole, "a"), (module, "b")):
        folder.mkdir()
        (folder / "build.log").write_text(f"/src/{HV}/x.c:1: warning: {text}\n")
    p = whole / "bzImage"
    image = KernelImage("key", "7.3.4", "plain", p, p, p, p)
    assert warnings.of_image(image) == (f"{HV}/x.c:1: a",)
    with_module = KernelImage("key", "7.3.4", "plain", p, p, p, p, modules=(module / "x.ko",))
    assert warnings.of_image(with_module) == (f"{HV}/x.c:1: b",)
    assert warnings.read(tmp_path) == (), "nothing is known without a log"


def test_warning_that_only_moved_is_not_new() -> None:
    base = [f"{HV}/a.c:12: {UNUSED}"]
    assert new_warnings([f"{HV}/a.c:99: {UNUSED}"], base) == ()
    other = [f"{HV}/b.c:12: {UNUSED}", f"{HV}/a.c:12: 'g' defined but not used"]
    assert new_warnings([*base, *other], base) == tuple(other)
