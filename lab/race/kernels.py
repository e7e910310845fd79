# SPDX-License-Identifier: GPL-2.0-or-later
"""The two kernels of a recipe, each with the driver as a module whose lines are known."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from lab import paths
from lab.build.described import Described, build_described
from lab.build.module import build_base_modular
from lab.cache import Cache
from lab.model.errors import BadInput
from lab.model.kernel import AppliedSeries, KernelImage, KernelSource
from lab.model.mutant import DriverMutant
from lab.model.race import Side
from lab.progress import Progress
from lab.series.mutants import load_driver_mutants, series_with
from lab.validate import kernels
from lab.validate.kernels import Builder, Selectors


@dataclass(frozen=True, slots=True)
class RaceKernel:
    """A kernel to race on, and where its source lies: ``applied`` first, then ``source``."""

    described: Described
    source: KernelSource
    applied: AppliedSeries | None

    @property
    def image(self) -> KernelImage:
        """What boots."""
        return self.described.image

    def read_source(self, name: str) -> str:
        """A file of its source. OSError."""
        if self.applied is not None and (path := self.applied.overlay / name).is_file():
            return path.read_text(errors="replace")
        return (self.source.tree / name).read_text(errors="replace")


def series_dir(name: str) -> Path:
    """A series of the lab's own."""
    return paths.tests_dir() / "series" / name


@dataclass
class RaceKernels:
    """Builds them, once each. ``selectors`` name the base."""

    selectors: Selectors
    cache: Cache
    progress: Progress
    _mutants: dict[str, DriverMutant] = field(default_factory=dict)
    _made: dict[tuple[str, str], RaceKernel] = field(default_factory=dict)

    def check(self, side: Side, where: str) -> None:
        """BadInput for a mutant or a series that there is not."""
        if side.mutant:
            self._mutant(side.mutant, where)
        if side.series and not (folder := series_dir(side.series)).is_dir():
            raise BadInput(f"no series {side.series!r}", where=where, hint=f"see {folder.parent.name}/")

    def kernel(self, side: Side, flavour: str, where: str) -> RaceKernel:
        """The kernel of a side in a flavour. LabError."""
        key = (str(side), flavour)
        if key not in self._made:
            self._made[key] = self._build(side, flavour, where)
        return self._made[key]

    def _build(self, side: Side, flavour: str, where: str) -> RaceKernel:
        folder = series_dir(side.series) if side.series else kernels.embedded_series()
        selectors = replace(self.selectors, flavour=flavour, series=str(folder))
        cache, progress = self.cache, self.progress
        series = kernels.read_series(selectors)
        assert series is not None
        source = kernels.fetch(selectors, series, cache, progress)
        builder = Builder(selectors, cache, progress, kernels.choose_sandbox(selectors))
        base = builder.base(source)
        common = (cache, builder.sandbox, progress, selectors.make_jobs)
        modular = build_base_modular(base, source, selectors.kernel_flavour(), *common)
        applied = None
        if not side.stock:
            wanted = series_with(self._mutant(side.mutant, where)) if side.mutant else series
            applied = kernels.apply(source, wanted, cache, progress)
        return RaceKernel(build_described(modular, source, applied, *common), source, applied)

    def _mutant(self, name: str, where: str) -> DriverMutant:
        if not self._mutants:
            self._mutants.update({mutant.id: mutant for mutant in load_driver_mutants()})
        if name not in self._mutants:
            raise BadInput(f"no mutant {name!r}", where=where, hint="see tests/mutants/driver")
        return self._mutants[name]
