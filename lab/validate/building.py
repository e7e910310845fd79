# SPDX-License-Identifier: GPL-2.0-or-later
"""Phase build of a validation: base and patched kernel of every flavour that was asked for.

The bases of several flavours are built side by side from one source, sharing the processors; what is built
on them is quick and goes one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from lab.build.jobs import JobPool
from lab.model.errors import KernelBuildFailed, LabError
from lab.model.kernel import AppliedSeries, KernelImage, KernelSource
from lab.model.result import KernelRun
from lab.model.series import Series
from lab.model.verdict import Verdict
from lab.progress import Progress, Together
from lab.validate.kernels import Builder
from lab.validate.sides import SideBuilder

MakeBuilder = Callable[[str], Builder]
"""A builder for the flavour of that name."""


@dataclass(frozen=True, slots=True)
class BuiltSides:
    """The two kernels of one flavour; a side that could not be built carries its run instead."""

    flavour: str
    base: KernelImage | KernelRun
    patched: KernelImage | KernelRun
    notes: tuple[str, ...] = ()


def build_bases(
    flavours: Sequence[str], make: MakeBuilder, source: KernelSource, progress: Progress
) -> dict[str, KernelImage | KernelBuildFailed]:
    """The base kernels by flavour. Raises LabError when one cannot be made for other reasons."""
    if len(flavours) == 1:
        return {flavours[0]: _base(make(flavours[0]), source)}
    together = Together(progress)
    pool = JobPool(make(flavours[0]).selectors.make_jobs)
    try:
        with ThreadPoolExecutor(max_workers=len(flavours)) as workers:
            try:
                pending = {
                    f: workers.submit(_base, replace(make(f), progress=together.part(f), pool=pool), source)
                    for f in flavours
                }
                return {f: future.result() for f, future in pending.items()}
            except BaseException:
                pool.stop()
                raise
    finally:
        pool.close()


def _base(builder: Builder, source: KernelSource) -> KernelImage | KernelBuildFailed:
    try:
        with builder.progress.phase("build", "base"):
            return builder.base(source)
    except KernelBuildFailed as e:
        return e


def build_sides(
    builder: Builder,
    base: KernelImage | KernelBuildFailed,
    source: KernelSource,
    series: Series,
    applied: AppliedSeries,
) -> BuiltSides:
    """Both sides of one flavour; what does not build becomes a run that says so."""
    flavour = builder.selectors.flavour
    if isinstance(base, KernelBuildFailed):
        dead = failed("base", str(source.version), flavour, "build", base)
        return BuiltSides(flavour, dead, replace(dead, side="patched", verdict=Verdict.INCONCLUSIVE))
    try:
        with builder.progress.phase("build", "patched") as phase:
            made = SideBuilder(builder, base, source).both(series, applied)
            if made.patched.image.modules:
                phase.note = "the module alone"
    except KernelBuildFailed as e:
        patched = failed("patched", base.release, flavour, "build", e)
        return BuiltSides(flavour, _not_run(base, "there is no patched kernel to compare with"), patched)
    for note in made.notes:
        builder.progress.note(note)
    return BuiltSides(flavour, made.base.image, made.patched.image, made.notes)


def _not_run(kernel: KernelImage, why: str) -> KernelRun:
    """A base that was left alone because the series failed before it mattered."""
    return KernelRun(
        side="base",
        release=kernel.release,
        flavour=kernel.flavour,
        key=kernel.key,
        verdict=Verdict.INCONCLUSIVE,
        reasons=(f"not run: {why}",),
    )


def failed(side: str, release: str, flavour: str, phase: str, e: LabError) -> KernelRun:
    """The run of a kernel that ended in a phase before it could boot."""
    reasons = [e.what if not e.where else f"{e.where}: {e.what}"]
    if isinstance(e, KernelBuildFailed) and e.patch:
        reasons.append(f'in the patch "{e.patch}"')
    return KernelRun(
        side=side,
        release=release,
        flavour=flavour,
        key="",
        verdict=Verdict.FAIL,
        reasons=tuple(reasons),
        failed_phase=phase,
        evidence=tuple(e.detail.splitlines()),
    )
