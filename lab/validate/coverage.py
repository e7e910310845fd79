# SPDX-License-Identifier: GPL-2.0-or-later
"""Coverage of a series: the patched kernel once more with counters, the scenarios, and what they ran.

The verdict is not made here: counters change the timing of what they count, so base and patched run
without them.
"""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lab.build import gcov
from lab.build.modscope import FOLDER, module_sources
from lab.judge.coverage import Counts, NotGcov, covered
from lab.model.coverage import Coverage, CoveredFile
from lab.model.errors import LabError
from lab.model.kernel import AppliedSeries, KernelImage, KernelSource
from lab.model.result import KernelRun, PhaseTime
from lab.model.verdict import Verdict
from lab.series import changed_lines
from lab.validate.counters import Taken, read_taken
from lab.validate.drive import DriveRequest, drive
from lab.validate.kernels import Builder

OUT = "coverage"
_CODE = (".c", ".h")


@dataclass(frozen=True, slots=True)
class CoverageRequest:
    """What to measure: changed lines, or with ``of`` (folder, file or pattern) all lines of files.

    ``base`` is the kernel that the patched one is built on (the modular one where it is a module).
    """

    base: KernelImage
    patched: KernelRun
    out: Path
    machine: str
    params: tuple[str, ...]
    of: str = ""
    expression: str | None = None


def measure(
    request: CoverageRequest, builder: Builder, source: KernelSource, applied: AppliedSeries
) -> Coverage:
    """Build, drive, count. Raises LabError as building and driving do."""
    modular = bool(request.base.modules)
    tree = Tree(source.tree, applied)
    changed = changed_lines(applied)
    looked_at = tree.matching(request.of) if request.of else [f for f in changed if f.endswith(_CODE)]
    profiled = to_profile(tree, looked_at, modular)
    scope = f"lines of {request.of}" if request.of else "changed lines"
    files: list[CoveredFile] = []
    taken, notes = Taken(), []
    if profiled:
        with builder.progress.phase("build", "patched") as phase:
            phase.note = "with counters"
            kernel = builder.profiled(request.base, source, applied, profiled)
        gcov.check(gcov.notes_of(kernel))
        notes += _drive(request, kernel, builder)
        taken = read_taken(request.out / OUT)
        counts = _counts(kernel, taken, looked_at, builder, request.out, notes)
    else:
        counts = Counts()
    for name in looked_at:
        of_file = None if request.of else changed.get(name, ())
        files.append(covered(counts, name, tree.text(name), of_file))
    lost = tuple(f"{scenario}: {why}" for scenario, why in taken.lost.items())
    return Coverage(
        scope, request.base.flavour, tuple(files), taken.scenarios, taken.guests, lost, tuple(notes)
    )


@dataclass(frozen=True, slots=True)
class Tree:
    """The patched source: the series' files over the pristine tree."""

    pristine: Path
    applied: AppliedSeries

    def matching(self, pattern: str) -> list[str]:
        """C files that are it, are in it, or match it, sorted."""
        folder = pattern.rstrip("/")
        glob = f"{folder}/*" if (self.pristine / folder).is_dir() else folder
        parent = PurePosixPath(glob).parent
        names = {str(parent / p.name) for p in (self.pristine / parent).glob("*.[ch]")}
        names = (names | set(self.applied.files)) - set(self.applied.deleted)
        return sorted(n for n in names if n.endswith(_CODE) and fnmatch.fnmatchcase(n, glob))

    def text(self, name: str) -> list[str]:
        """The lines of a file."""
        overlay = self.applied.overlay / name
        path = overlay if name in self.applied.files else self.pristine / name
        return path.read_text(errors="replace").split("\n") if path.is_file() else []


def to_profile(tree: Tree, looked_at: Sequence[str], modular: bool) -> list[str]:
    """The C files that must count so that ``looked_at`` is measured: a header counts where it is included,
    so all of its folder does. Of a kernel whose driver is a module only the module is built anew."""
    wanted = {n for n in looked_at if n.endswith(".c")}
    for name in looked_at:
        if name.endswith(".h") and not name.startswith("include/"):
            wanted |= {n for n in tree.matching(str(PurePosixPath(name).parent)) if n.endswith(".c")}
    if modular:
        makefile = "\n".join(tree.text(f"{FOLDER}/Makefile"))
        wanted &= {f"{FOLDER}/{name}" for name in module_sources(makefile)}
    return sorted(wanted)


def _drive(request: CoverageRequest, kernel: KernelImage, builder: Builder) -> list[str]:
    started = time.monotonic()
    driven = drive(
        DriveRequest(
            kernel=kernel,
            side="counters",
            out=request.out / OUT,
            machine=request.machine,
            params=request.params,
            qemu=builder.selectors.qemu,
            expression=request.expression,
            counters=request.out / OUT,
        ),
        builder.progress,
    )
    report = driven.report
    note = f"{len(report.outcomes)} scenarios with counters"
    wall = time.monotonic() - started
    builder.progress.record(PhaseTime("coverage", "patched", wall, report.cpu, note))
    notes = [] if report.complete else ["the run with counters ended early: see coverage/pytest.log"]
    passed = {o.id for o in request.patched.outcomes if o.verdict is Verdict.PASS}
    other = [o.id for o in report.outcomes if o.id in passed and o.verdict is not Verdict.PASS]
    if other:
        notes.append(f"passed without counters and not with them: {', '.join(other)}")
    return notes


def _counts(
    kernel: KernelImage,
    taken: Taken,
    looked_at: Sequence[str],
    builder: Builder,
    scratch: Path,
    notes: list[str],
) -> Counts:
    """Sums over the guests. What cannot be read is a note: the rest still counts."""
    counts = Counts()
    objects = gcov.notes_of(kernel)
    for guest, built, file in taken.counters:
        name = next((o for o in objects if built == o or built.endswith("/" + o)), None)
        if name is None:
            continue
        try:
            text = gcov.to_json(objects[name], file.read_bytes(), builder.sandbox, scratch)
            counts.add(text, name, looked_at)
        except (LabError, NotGcov) as e:
            why = e.what if isinstance(e, LabError) else str(e)
            notes.append(f"counters of {name} in guest {guest} do not count: {why}")
    return counts
