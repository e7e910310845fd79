# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernels of one flavour: base and patched, each with the lab's base fixes that it needs.

Both sides are built in the same way: by the driver's module alone where series and fixes touch nothing
else, or else whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lab.build.module import NotAsModule, build_base_modular, build_module, can_build_module_only, outside
from lab.model.errors import KernelBuildFailed
from lab.model.kernel import AppliedSeries, KernelImage, KernelSource
from lab.model.series import Series
from lab.series import apply
from lab.series import fixes as base_fixes
from lab.series.fixes import BaseFix, Fixed

if TYPE_CHECKING:
    from lab.validate.kernels import Builder

_Build = Callable[[AppliedSeries], KernelImage]
"""Builds changes of the driver. Raises NotAsModule."""
_Content = tuple[Series | None, AppliedSeries | None]
"""What goes into a kernel, as read and as applied; None twice for the base."""


@dataclass(frozen=True, slots=True)
class Side:
    """A kernel, and why fixes of its flavour are not in it, by name of the fix."""

    image: KernelImage
    left_out: dict[str, str]


@dataclass(frozen=True, slots=True)
class Sides:
    """Both kernels, and what is to be said of the fixes in them."""

    base: Side
    patched: Side
    notes: tuple[str, ...]


def lost(twin: Side, mutant: Side) -> str:
    """Which fixes the twin has and the mutant's kernel has not, and why; "" when none."""
    missing = [name for name in twin.image.fixes if name not in mutant.image.fixes]
    if not missing:
        return ""
    return "; ".join(f"without base fix {name}: {mutant.left_out.get(name, '?')}" for name in missing)


def _line(error: Exception) -> str:
    return (str(error).splitlines() or ["?"])[0]


class SideBuilder:
    """Builds the sides of one flavour on one base. ``base`` is the pristine kernel with its objects."""

    def __init__(
        self,
        builder: Builder,
        base: KernelImage,
        source: KernelSource,
        fixes: Iterable[BaseFix] | None = None,
    ) -> None:
        self._builder = builder
        self._base = base
        self._source = source
        self._flavour = builder.selectors.kernel_flavour()
        table = base_fixes.table() if fixes is None else fixes
        self._wanted = base_fixes.wanted(table, self._flavour.name, source.version)
        self._boot = tuple(fix for fix in self._wanted if fix.boot)
        self._driver = tuple(fix for fix in self._wanted if not fix.boot)

    def both(self, series: Series, applied: AppliedSeries) -> Sides:
        """Base and patched kernel. KernelBuildFailed when the series itself does not build."""
        base, patched = self._build([(None, None), (series, applied)], arm=True)
        return Sides(base, patched, self._notes({"base": base, "patched": patched}))

    def one(self, series: Series | None, applied: AppliedSeries | None, *, arm: bool = False) -> Side:
        """One kernel: with the series, or the base where there is none. Says what is in it.

        ``arm`` adds what trips its detectors.
        """
        (side,) = self._build([(series, applied)], arm=arm)
        for line in self._notes({"base" if series is None else "patched": side}):
            self._builder.progress.note(line)
        return side

    def both_as_modules(self, series: Series, applied: AppliedSeries) -> Sides:
        """As :meth:`both`, never as whole kernels. NotAsModule where the module alone does not do."""
        core, made = self._modules([(None, None), (series, applied)])
        base, patched = self._armed(core, made)
        return Sides(base, patched, self._notes({"base": base, "patched": patched}))

    def as_module(self, series: Series, applied: AppliedSeries) -> Side:
        """One kernel with the series, by the module alone, its detectors not to be tripped.

        A fix that does not build on top of it is left out. NotAsModule is about the series itself.
        """
        _, (side,) = self._modules([(series, applied)], forgiving=True)
        return side

    def _build(self, wanted: list[_Content], *, arm: bool = False) -> list[Side]:
        found = self._by_module(wanted) if self._builder.short_way else None
        core, made = found or (self._base, [self._whole(series) for series, _ in wanted])
        return self._armed(core, made) if arm else made

    def _armed(self, core: KernelImage, made: list[Side]) -> list[Side]:
        # Out of one core kernel: what is built for it goes into both.
        armed = [self._builder.armed(side.image, core, self._source) for side in made]
        return [replace(side, image=image) for side, image in zip(made, armed, strict=True)]

    # ---- by the module alone

    def _by_module(self, wanted: list[_Content]) -> tuple[KernelImage, list[Side]] | None:
        """The core kernel and the sides; None when the module alone does not do, or cannot be built."""
        if not all(applied is None or can_build_module_only(self._source, applied) for _, applied in wanted):
            return None
        try:
            return self._modules(wanted)
        except NotAsModule as e:
            self._builder.progress.note(
                f"not as a module: {str(e).splitlines()[0]}; building the whole kernel"
            )
            return None

    def _modules(self, wanted: list[_Content], *, forgiving: bool = False) -> tuple[KernelImage, list[Side]]:
        """The core kernel and the sides. NotAsModule, with ``forgiving`` not because of a fix."""
        tools = self._builder
        boot = self._put_on(None, self._boot)
        common = (tools.cache, tools.sandbox, tools.progress, tools.jobs)
        modular = build_base_modular(self._base, self._source, self._flavour, *common, applied=boot.applied)

        def build(changes: AppliedSeries) -> KernelImage:
            if more := outside(self._source, changes):
                raise NotAsModule(f"more than the driver's module is changed: {more}")
            return build_module(modular, self._source, changes, *common)

        sides = []
        for series, applied in wanted:
            image = build(applied) if applied else modular
            plain = Side(replace(image, fixes=boot.names), boot.left_out)
            sides.append(self._with_driver_fixes(plain, series, build, forgiving))
        return modular, sides

    def _with_driver_fixes(self, plain: Side, series: Series | None, build: _Build, forgiving: bool) -> Side:
        fixed = self._put_on(series, self._driver)
        left_out = plain.left_out | fixed.left_out
        if not fixed.names or fixed.applied is None:
            return Side(plain.image, left_out)
        try:
            built = build(fixed.applied)
        except NotAsModule as e:
            if not forgiving:
                raise
            why = f"it does not build on top of {series.name if series else 'the base'}: {_line(e)}"
            return Side(plain.image, left_out | dict.fromkeys(fixed.names, why))
        names = (*plain.image.fixes, *fixed.names)
        # What else is built on the base (counters, mutants) starts from the same objects.
        image = replace(built, fixes=names, unfixed=plain.image, build_dir=plain.image.build_dir)
        return Side(image, left_out)

    # ---- whole kernels

    def _whole(self, series: Series | None) -> Side:
        boot = self._put_on(series, self._boot)
        plain = replace(self._build_whole(boot.applied), fixes=boot.names)
        if not self._driver:
            return Side(plain, boot.left_out)
        fixed = self._put_on(series, (*self._boot, *self._driver))
        if fixed.names == boot.names:
            return Side(plain, fixed.left_out)
        try:
            image = self._build_whole(fixed.applied)
        except KernelBuildFailed as e:
            why = f"it does not build together with {series.name if series else 'the base'}: {e.what}"
            missing = [f.name for f in self._wanted if f.name not in boot.names]
            return Side(plain, fixed.left_out | dict.fromkeys(missing, why))
        return Side(replace(image, fixes=fixed.names, unfixed=plain), fixed.left_out)

    def _build_whole(self, applied: AppliedSeries | None) -> KernelImage:
        if applied is None:
            return self._base
        return self._builder.patched(self._base, self._source, applied)

    # ---- what is told

    def _put_on(self, series: Series | None, fixes: Iterable[BaseFix]) -> Fixed:
        tools = self._builder
        return base_fixes.put_on(series, fixes, lambda s: apply(self._source, s, tools.cache, tools.progress))

    def _notes(self, sides: dict[str, Side]) -> tuple[str, ...]:
        lines = []
        for fix in self._wanted:
            about = f"{self._flavour.name}: base fix {fix}"
            inside = [name for name, side in sides.items() if fix.name in side.image.fixes]
            if inside:
                lines.append(f"{about} is in {' and '.join(inside)}: {fix.why}")
            lines += [
                f"{about} is not in {name}: {side.left_out[fix.name]}"
                for name, side in sides.items()
                if fix.name in side.left_out
            ]
        return tuple(lines)
