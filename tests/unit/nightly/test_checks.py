# SPDX-License-Identifier: GPL-2.0-or-later
"""What each patch adds to what the compiler says, on a tiny kernel that is made like the real one."""

from __future__ import annotations

import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from lab.build.sandbox import Sandbox, probe
from lab.cache import Cache
from lab.hashing import tree_digest
from lab.model.kernel import KernelSource, SourceLock
from lab.model.nightly import CheckResult
from lab.model.series import KernelVersion, Series
from lab.model.verdict import Verdict
from lab.nightly.again import Again
from lab.nightly.checks import check_series, compared
from lab.nightly.culprit import Prefixes
from lab.nightly.kbuild_checks import CHECKS, KbuildCheck, Said, targets, void
from lab.nightly.prefixes import prefix
from lab.nightly.styles import checkpatch, findings
from lab.progress import NullProgress
from lab.series import apply, load
from lab.validate.kernels import Builder, Selectors

MAKEFILE = """\
S := $(CURDIR)
objs := $(patsubst %.c,$(O)/%.o,$(sort $(wildcard drivers/hv/*.c)))
allnoconfig:
\t@cp $(KCONFIG_ALLCONFIG) $(O)/.config
prepare:
\t@:
drivers/hv/: $(objs)
bzImage: $(objs)
\t@mkdir -p $(O)/arch/x86/boot $(O)/include/config
\t@ld -r -o $(O)/vmlinux $(objs)
\t@nm $(O)/vmlinux > $(O)/System.map
\t@cp $(O)/vmlinux $(O)/arch/x86/boot/bzImage
\t@echo 7.3.4-tiny > $(O)/include/config/kernel.release
$(O)/%.o: %.c
\t@echo "  CC      $*.o"
\t@mkdir -p $(dir $@)
\t@gcc -Wall $(if $(W),-Wextra) -MD -c -o $@ $(S)/$<
-include $(objs:.o=.d)
"""
A = "int a(int x)\n{\n\treturn x;\n}\n"
B = "static int old;\nint b(void)\n{\n\treturn 1;\n}\n"
STYLE = KbuildCheck("W=1", flags=("W=1",), style=True)
PLAIN = KbuildCheck("MSHV_ROOT=y", settings={"MSHV_ROOT": "y"}, must=("MSHV_ROOT",))


@pytest.fixture
def source(tmp_path: Path) -> KernelSource:
    tree = tmp_path / "tree"
    for name, text in {
        "Makefile": MAKEFILE,
        "drivers/hv/Makefile": "",
        "drivers/hv/a.c": A,
        "drivers/hv/b.c": B,
    }.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    return KernelSource(
        KernelVersion(7, 3, 4), tree, tree_digest(tree), SourceLock("tarball", "t", "7.3", "")
    )


@pytest.fixture
def builder(tmp_path: Path) -> Builder:
    return Builder(Selectors(jobs=1), Cache(tmp_path / "cache"), NullProgress(), probe() or Sandbox("none"))


def series(folder: Path, source: KernelSource, *steps: dict[str, str]) -> Series:
    """A series whose patches give these files these contents."""

    def git(*words: str) -> None:
        who = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgSign=false"]
        subprocess.run(["git", *who, *words], cwd=repo, check=True, capture_output=True, timeout=60)

    repo = folder / "repo"
    subprocess.run(["cp", "-r", str(source.tree), str(repo)], check=True, timeout=60)
    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "base")
    git("tag", "base")
    for number, files in enumerate(steps, 1):
        for name, text in files.items():
            (repo / name).write_text(text)
        git("add", "-A")
        git("commit", "-qm", f"hv: step {number}")
    git("format-patch", "-q", "-o", str(folder / "mails"), "base")
    return load(str(folder / "mails"), None, None)  # type: ignore[arg-type]


def by(results: tuple[CheckResult, ...], name: str) -> list[CheckResult]:
    return [r for r in results if r.name == name]


def test_each_patch_answers_for_what_it_brings(
    tmp_path: Path, source: KernelSource, builder: Builder
) -> None:
    unused = A.replace("{\n", "{\n\tint unused;\n")
    wrong = B.replace("return 1", "return gone")
    made = series(
        tmp_path,
        source,
        {"drivers/hv/a.c": "\n\n" + A},
        {"drivers/hv/a.c": unused},
        {"drivers/hv/b.c": wrong, "drivers/hv/a.c": "\n" + unused},
        {"drivers/hv/a.c": A + "\nint more(int x, int y)\n{\n\treturn x;\n}\n"},
        {"drivers/hv/b.c": B.replace("return 1", "return 2")},
    )
    results = check_series(made, source, builder, (), checks=(PLAIN, STYLE))
    plain, style = by(results, "MSHV_ROOT=y"), by(results, "W=1")
    p, f, i = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
    assert [r.verdict for r in plain] == [p, f, f, i, p]
    (warned,), told = plain[1].lines, plain[2].lines
    assert warned == "warning: drivers/hv/a.c:3: unused variable 'unused' [-Wunused-variable]"
    assert told[0] == "error: drivers/hv/b.c:4: 'gone' undeclared (first use in this function)"
    assert not any("a.c" in line for line in told), "told of the patch before, and moved by a line since"
    assert "since patch 3" in plain[3].note
    assert not any(r.advisory for r in plain)
    assert [r.verdict for r in style] == [p, f, f, f, p], "only -Wextra knows the parameter that is not used"
    assert style[3].advisory and "unused parameter" in style[3].lines[0]
    assert not style[2].advisory, "an error is no matter of style"
    assert [r.patch for r in plain] == [1, 2, 3, 4, 5]
    cached = Builder(builder.selectors, builder.cache, builder.progress, builder.sandbox)
    (source.tree / "drivers/hv/a.c").unlink()  # whoever compiles again now says something else
    again = check_series(made, source, cached, (), checks=(PLAIN,))
    assert [(r.verdict, r.lines) for r in by(again, "MSHV_ROOT=y")] == [(r.verdict, r.lines) for r in plain]
    assert not list((tmp_path / "cache").glob("*/.tmp-*")), "nothing is left behind"


def test_a_file_that_is_as_before_again_is_compiled_as_it_was(
    tmp_path: Path, source: KernelSource, builder: Builder
) -> None:
    broken = {"drivers/hv/a.c": "int a(void) { return nothing; }\n"}
    made = series(tmp_path, source, broken, {"drivers/hv/a.c": A, "drivers/hv/b.c": "\n" + B})
    results = by(check_series(made, source, builder, (), checks=(PLAIN,)), "MSHV_ROOT=y")
    assert [r.verdict for r in results] == [Verdict.FAIL, Verdict.PASS]


def test_what_only_this_host_lacks_decides_nothing(
    tmp_path: Path, source: KernelSource, builder: Builder
) -> None:
    made = series(tmp_path, source, {"drivers/hv/a.c": "\n" + A})
    lacking = KbuildCheck("arm64", tool="no-such-compiler-anywhere")
    other = KbuildCheck("HYPERV=n", settings={"HYPERV": "n"})
    results = check_series(made, source, builder, (), checks=(lacking, other))
    (arm,) = by(results, "arm64")
    assert (arm.verdict, arm.advisory) == (Verdict.INCONCLUSIVE, True)
    assert "no-such-compiler-anywhere is not installed" in arm.note
    (style,) = by(results, "checkpatch")
    assert (style.verdict, style.advisory) == (Verdict.INCONCLUSIVE, True), "this base has no checkpatch.pl"
    assert by(results, "HYPERV=n")[0].verdict is Verdict.PASS


def test_patches_after_one_that_does_not_apply_are_not_checked(
    tmp_path: Path, source: KernelSource, builder: Builder
) -> None:
    made = series(
        tmp_path, source, {"drivers/hv/a.c": "\n" + A}, {"drivers/hv/b.c": "\n" + B}, {"drivers/hv/a.c": A}
    )
    (source.tree / "drivers/hv/b.c").write_text("int other;\n")
    results = check_series(made, source, builder, (), checks=())
    (bad,) = by(results, "apply")
    assert (bad.patch, bad.verdict) == (2, Verdict.FAIL)
    assert max(r.patch for r in results) == 2


def test_a_patch_that_breaks_the_kernel_is_named_and_is_the_culprit(
    tmp_path: Path, source: KernelSource, builder: Builder
) -> None:
    made = series(
        tmp_path,
        source,
        {"drivers/hv/a.c": "\n" + A},
        {"drivers/hv/b.c": B.replace("return 1", "return gone")},
        {"drivers/hv/a.c": A + "\n"},
    )
    results = by(check_series(made, source, builder, ("plain",), checks=()), "build:plain")
    assert [r.verdict for r in results] == [Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE], results
    assert results[0].note == "the whole kernel"
    assert "'gone' undeclared" in results[1].lines[0] and results[1].lines[0].startswith("drivers/hv/b.c:4")
    assert "since patch 2" in results[2].note
    again = Again(builder, source, "mshv-root", (), tmp_path / "out", time.monotonic() + 600)
    applied = apply(source, made, builder.cache, builder.progress)
    prefixes = Prefixes(again, made, applied, builder.base(source), "lab")
    assert prefixes.culprit_of_phase("build", "").patch == 2
    assert prefixes.culprit_of_phase("drive", "").why == "phase drive has no culprit to look for"
    late = Prefixes(replace(again, deadline=time.monotonic()), made, applied, builder.base(source), "lab")
    assert "no time was left" in str(late.culprit_of_phase("build", ""))


def test_the_patch_that_does_not_apply_is_the_culprit(
    tmp_path: Path, source: KernelSource, builder: Builder
) -> None:
    made = series(
        tmp_path, source, *({f"drivers/hv/{n}.c": t} for n, t in (("a", "\n" + A), ("b", "\n" + B)))
    )
    (source.tree / "drivers/hv/b.c").write_text("int other;\n")
    again = Again(builder, source, "mshv-root", (), tmp_path / "out", time.monotonic() + 600)
    assert Prefixes(again, made, None, None, "lab").culprit_of_phase("apply", "").patch == 2


def test_no_time_left_is_doubt(tmp_path: Path, source: KernelSource, builder: Builder) -> None:
    made = series(tmp_path, source, {"drivers/hv/a.c": "\n" + A})
    (result,) = by(check_series(made, source, builder, (), checks=(PLAIN,), budget=0.0), "MSHV_ROOT=y")
    assert (result.verdict, result.advisory) == (Verdict.INCONCLUSIVE, False)
    assert "no time" in result.note


def test_errors_of_the_base_are_not_the_series_own() -> None:
    base = Said(errors=("drivers/hv/x.c:3: no such thing",))
    moved = Said(errors=("drivers/hv/x.c:9: no such thing",))
    result = compared(PLAIN, 1, moved, base)
    assert (result.verdict, result.advisory) == (Verdict.INCONCLUSIVE, True)
    assert "before the series" in result.note


def test_a_check_that_make_leaves_out_silently_says_nothing() -> None:
    sparse = next(c for c in CHECKS if c.name == "sparse")
    line = "/src/Makefile:1311: C=1 specified, but sparse is not available or not up to date"
    assert void(sparse, {}, {}, ["  CC      a.o", line]) == "this base refuses sparse: it is not up to date"
    assert void(sparse, {}, {}, ["  CC      a.o", "  CHECK   /src/a.c"]) == ""
    assert void(PLAIN, {"MSHV_ROOT": "y"}, {}, []) == "this base cannot have CONFIG_MSHV_ROOT=y"
    assert void(PLAIN, {"MSHV_ROOT": "y"}, {"MSHV_ROOT": "y"}, []) == ""


def test_targets_are_folders_that_have_a_makefile(tmp_path: Path) -> None:
    for name in ("drivers/hv", "arch/x86/hyperv", "arch/arm64/hyperv", "mm", "drivers"):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / name / "Makefile").touch()
    (tmp_path / "Makefile").touch()
    (tmp_path / "include/hyperv").mkdir(parents=True)
    for number in range(61):
        (tmp_path / f"mm/{number}.c").touch()

    def of(*files: str, arch: str = "x86") -> tuple[str, ...]:
        return targets(files, tmp_path, arch)

    assert of("drivers/hv/mshv.h", "drivers/hv/Kconfig") == ("drivers/hv/",)
    assert of("mm/3.c", "mm/x.h") == ("mm/3.o",)
    assert of("include/hyperv/hvhdk.h") == (
        "arch/x86/hyperv/",
        "arch/x86/kernel/cpu/mshyperv.o",
        "drivers/hv/",
    )
    assert of("arch/x86/hyperv/hv_init.c", arch="arm64") == ()
    assert of("arch/arm64/hyperv/mshyperv.c", arch="arm64") == ("arch/arm64/hyperv/",)
    assert of("Documentation/virt/x.rst", "MAINTAINERS", "Makefile", "tools/hv/x.c") == ()


def test_a_prefix_is_known_by_its_mails(tmp_path: Path, source: KernelSource) -> None:
    made = series(tmp_path, source, {"drivers/hv/a.c": "\n" + A}, {"drivers/hv/b.c": "\n" + B})
    other = Series("another version", made.patches[:1], key="other")
    longer = Series("another version", (*made.patches[:1], made.patches[0]), key="longer")
    assert prefix(made, 2) is made
    assert prefix(made, 1).key == prefix(longer, 1).key != prefix(other, 1).key == "other"
    for count in (0, 3):
        with pytest.raises(ValueError):
            prefix(made, count)


def test_findings_say_the_place_in_the_kernel_and_none_in_the_mail() -> None:
    lines = [
        "drivers/hv/x.c:12: WARNING:LONG_LINE: line length of 130 exceeds 100 columns",
        "/mail/patch:70: ERROR:MISSING_SIGN_OFF: Missing Signed-off-by: line(s)",
        "total: 1 errors",
        "",
    ]
    assert findings(lines, "/mail/patch") == (
        "drivers/hv/x.c:12: WARNING:LONG_LINE: line length of 130 exceeds 100 columns",
        "ERROR:MISSING_SIGN_OFF: Missing Signed-off-by: line(s)",
    )


@pytest.mark.parametrize(
    ("script", "verdict", "said"),
    [
        ('print "a.c:1: WARNING:X: text\\n"; exit 1;', Verdict.FAIL, "a.c:1: WARNING:X: text"),
        ("exit 0;", Verdict.PASS, ""),
        ('die "cannot go on\\n";', Verdict.INCONCLUSIVE, "cannot go on"),
    ],
)
def test_checkpatch_is_advice_whatever_it_does(
    tmp_path: Path, source: KernelSource, builder: Builder, script: str, verdict: Verdict, said: str
) -> None:
    (source.tree / "scripts").mkdir()
    (source.tree / "scripts/checkpatch.pl").write_text(script)
    made = series(tmp_path, source, {"drivers/hv/a.c": "\n" + A})
    result = checkpatch(made.patches[0], 1, source, builder.sandbox)
    assert (result.verdict, result.advisory) == (verdict, True)
    assert said in "\n".join((*result.lines, result.note))


def test_every_check_has_a_name_of_its_own() -> None:
    assert len({c.name for c in CHECKS}) == len(CHECKS) == 7
