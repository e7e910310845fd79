# SPDX-License-Identifier: GPL-2.0-or-later
"""The first error of a failed build, out of what the tools really print."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.build.diagnose import blame, blame_symbol, first_error

COMPILER = """\
In file included from /src/include/linux/hyperv.h:17,
                 from /src/drivers/hv/mshv_root_main.c:12:
/src/drivers/hv/mshv_root_main.c: In function 'mshv_vp_handle_intercept':
/src/drivers/hv/mshv_root_main.c:714:13: warning: unused variable 'x' [-Wunused-variable]
/src/drivers/hv/mshv_root_main.c:715:9: error: implicit declaration of function 'nope' [-Werror=implicit]
  715 |         nope();
      |         ^~~~
cc1: some warnings being treated as errors
make[4]: *** [/src/scripts/Makefile.build:289: drivers/hv/mshv_root_main.o] Error 1
make[4]: *** Waiting for unfinished jobs....
make[3]: *** [/src/scripts/Makefile.build:548: drivers/hv] Error 2
"""
HEADER = """\
In file included from /src/drivers/hv/mshv_root.h:20,
                 from /src/drivers/hv/mshv_synic.c:22:
/src/drivers/hv/mshv_trace.h:31:2: error: expected ';' before 'u64'
make[3]: *** [/src/scripts/Makefile.build:289: drivers/hv/mshv_synic.o] Error 1
"""
LINKER = """\
ld: drivers/hv/mshv_regions.o: in function `mshv_region_map':
mshv_regions.c:(.text+0x12): undefined reference to `mshv_missing'
make[2]: *** [/src/scripts/Makefile.vmlinux:79: vmlinux] Error 1
"""
LINKER_LINE = """\
ld: vmlinux.o: in function `mshv_region_map':
drivers/hv/mshv_regions.c:33: undefined reference to `mshv_missing'
make[2]: *** [/src/scripts/Makefile.vmlinux:79: vmlinux] Error 1
"""
LINKER_OBJECT = """\
ld: vmlinux.o:(.text+0x4bf1): undefined reference to `mshv_missing'
make[2]: *** [/src/scripts/Makefile.vmlinux:79: vmlinux] Error 1
"""
MODPOST = """\
ERROR: modpost: "hv_secret" [drivers/hv/mshv_root.ko] undefined!
make[2]: *** [/src/scripts/Makefile.modpost:147: Module.symvers] Error 1
"""
KCONFIG = """\
drivers/hv/Kconfig:61: syntax error
drivers/hv/Kconfig:60:warning: ignoring unsupported character '!'
make[2]: *** [/src/scripts/kconfig/Makefile:85: syncconfig] Error 1
"""
NO_RULE = """\
make[4]: *** No rule to make target 'drivers/hv/mshv_gone.o', needed by 'drivers/hv/built-in.a'.  Stop.
make[3]: *** [/src/scripts/Makefile.build:548: drivers/hv] Error 2
"""
MAKEFILE = """\
/src/drivers/hv/Makefile:7: *** missing separator.  Stop.
make[3]: *** [/src/scripts/Makefile.build:548: drivers/hv] Error 2
"""


@pytest.mark.parametrize(
    ("text", "file", "line", "says"),
    [
        (COMPILER, "drivers/hv/mshv_root_main.c", 715, "implicit declaration of function 'nope'"),
        (HEADER, "drivers/hv/mshv_trace.h", 31, "expected ';'"),
        (LINKER, "mshv_regions.c", 0, "undefined reference to `mshv_missing'"),
        (LINKER_LINE, "drivers/hv/mshv_regions.c", 33, "undefined reference to `mshv_missing'"),
        (LINKER_OBJECT, "vmlinux.o", 0, "undefined reference to `mshv_missing'"),
        (MODPOST, "", 0, "hv_secret"),
        (KCONFIG, "drivers/hv/Kconfig", 61, "syntax error"),
        (NO_RULE, "drivers/hv/built-in.a", 0, "no rule to make drivers/hv/mshv_gone.o"),
        (MAKEFILE, "drivers/hv/Makefile", 7, "missing separator"),
    ],
)
def test_the_first_error_has_its_place(text: str, file: str, line: int, says: str) -> None:
    found = first_error(text.splitlines(), "/src")
    assert (found.file, found.line) == (file, line)
    assert says in found.message


def test_a_warning_is_not_the_error() -> None:
    lines = [
        *COMPILER.splitlines()[:4],
        "make[4]: *** [/src/scripts/Makefile.build:289: drivers/hv/x.o] Error 1",
    ]
    assert first_error(lines, "/src").file == "drivers/hv/x.o"


def test_output_without_an_error_is_shown_as_it_is() -> None:
    found = first_error(["what", "is this"], "/src")
    assert found.lines == ("what", "is this") and found.file == ""


@pytest.mark.parametrize(
    ("text", "touched"),
    [
        (COMPILER, "drivers/hv/mshv_root_main.c"),
        (HEADER, "drivers/hv/mshv_trace.h"),
        (HEADER, "drivers/hv/mshv_synic.c"),
        (LINKER, "drivers/hv/mshv_regions.c"),
        (KCONFIG, "drivers/hv/Kconfig"),
    ],
)
def test_the_error_belongs_to_the_patch_that_touched_the_file_last(text: str, touched: str) -> None:
    last_patch = {"MAINTAINERS": "other", touched: "the culprit"}
    assert blame(first_error(text.splitlines(), "/src"), last_patch) == "the culprit"


def test_a_symbol_that_the_linker_misses_belongs_to_the_patch_that_uses_it(tmp_path: Path) -> None:
    (tmp_path / "a.c").write_text("int mshv_missing_too;\n")
    (tmp_path / "b.c").write_text("extern int mshv_missing;\n")
    found = first_error(LINKER_OBJECT.splitlines(), "/src")
    assert blame(found, {"a.c": "first", "b.c": "second"}) == ""
    assert blame_symbol(found, tmp_path, {"a.c": "first", "b.c": "second"}) == "second"


def test_an_error_in_a_file_that_nobody_touched_is_blamed_on_nobody() -> None:
    assert blame(first_error(COMPILER.splitlines(), "/src"), {"kernel/fork.c": "innocent"}) == ""
