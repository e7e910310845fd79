# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab's own small fixes of the base kernel: the table in ``images/kernel/fixes.toml``.

A known complaint of the base that disarms a detector would leave the lab blind for the rest of that boot.
Such a place is mended on both sides, in the flavours that have the detector, and the report says so. On
the side of a series that mends it itself our patch does not apply any more and is left out.
"""

from __future__ import annotations

import difflib
import io
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lab.hashing import digest
from lab.model.errors import BadInput, SeriesDoesNotApply
from lab.model.kernel import AppliedSeries
from lab.model.series import KernelVersion, Patch, Series, VersionRange
from lab.paths import images_dir
from lab.series.mails import collect
from lab.series.patches import assemble

TABLE = "fixes.toml"
FOLDER = "fixes"
_KEYS = ("why", "claim", "flavours", "fits", "boot")
_NEEDED = ("why", "flavours", "fits")

Applier = Callable[[Series], AppliedSeries]
"""Applies a series to one source. Raises SeriesDoesNotApply."""


@dataclass(frozen=True, slots=True)
class BaseFix:
    """One fix. ``why`` is told to people, ``claim`` the review claim that it mends (may be empty).

    ``boot``: what it mends complains while the kernel boots, outside the driver. Such a fix stays in the
    kernel that shows the other defects (``KernelImage.unfixed``): there the detector must be alive too.
    """

    name: str
    patch: Path
    why: str
    flavours: tuple[str, ...]
    fits: VersionRange
    claim: str = ""
    boot: bool = False

    def __str__(self) -> str:
        return f"{self.name} ({self.claim})" if self.claim else self.name


@dataclass(frozen=True, slots=True)
class Fixed:
    """A source with series (None without one) and fixes applied. ``left_out`` says why, by fix."""

    applied: AppliedSeries | None
    names: tuple[str, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)


def table() -> tuple[BaseFix, ...]:
    """The lab's own table."""
    return load(images_dir() / "kernel" / TABLE)


def load(path: Path) -> tuple[BaseFix, ...]:
    """Read a table of fixes; the patches are ``fixes/NAME.patch`` beside it. BadInput says which entry."""
    try:
        data: dict[str, Any] = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as e:
        raise BadInput(f"not a table of base fixes: {e}", where=str(path)) from e
    return tuple(_fix(name, entry, path) for name, entry in data.items())


def _fix(name: str, entry: Any, path: Path) -> BaseFix:
    where = f"{path}: [{name}]"
    if not isinstance(entry, dict):
        raise BadInput("not a table", where=where, hint=f"write [{name}] and below it its keys")
    for key in entry:
        if key not in _KEYS:
            near = difflib.get_close_matches(key, _KEYS, 1)
            hint = f"did you mean {near[0]}?" if near else f"known keys are {', '.join(_KEYS)}"
            raise BadInput(f"unknown key {key!r}", where=where, hint=hint)
    if missing := [key for key in _NEEDED if not entry.get(key)]:
        raise BadInput(f"{missing[0]} is missing", where=where, hint=f"needed are {', '.join(_NEEDED)}")
    flavours = entry["flavours"]
    if not isinstance(flavours, list) or not all(isinstance(f, str) for f in flavours):
        raise BadInput("flavours must be a list of names", where=where)
    boot = entry.get("boot", False)
    if not isinstance(boot, bool):
        raise BadInput("boot must be true or false", where=where)
    try:
        fits = VersionRange.parse(str(entry["fits"]))
    except ValueError as e:
        raise BadInput(str(e), where=where, hint='write "7.3" or "7.2-7.4"') from e
    patch = path.parent / FOLDER / f"{name}.patch"
    if not patch.is_file():
        raise BadInput("its patch is missing", where=where, hint=f"put it at {patch}")
    claim = str(entry.get("claim", ""))
    return BaseFix(name, patch, str(entry["why"]), tuple(flavours), fits, claim, boot)


def wanted(fixes: Iterable[BaseFix], flavour: str, version: KernelVersion) -> tuple[BaseFix, ...]:
    """The fixes that a kernel of this flavour and version gets."""
    return tuple(fix for fix in fixes if flavour in fix.flavours and version in fix.fits)


def patches(fix: BaseFix) -> tuple[Patch, ...]:
    """The mails of a fix."""
    return assemble(collect(str(fix.patch), None, io.BytesIO())).patches


def put_on(series: Series | None, fixes: Iterable[BaseFix], apply: Applier) -> Fixed:
    """``series`` (None: the bare base) with every fix on top that still fits and still changes something.

    Raises SeriesDoesNotApply only for the series itself.
    """
    so_far = series or Series(name="base fixes", patches=())
    applied = apply(so_far) if series is not None else None
    names: list[str] = []
    left_out: dict[str, str] = {}
    for fix in fixes:
        more = patches(fix)
        # A key of its own: what is applied is kept in the cache by it.
        key = digest("fixed", so_far.key, *(p.raw for p in more))
        tried = replace(so_far, patches=so_far.patches + more, key=key)
        try:
            done = apply(tried)
        except SeriesDoesNotApply as e:
            left_out[fix.name] = f"it does not apply on top of {so_far.name}: {e.what}"
            continue
        if applied is not None and done.key == applied.key:
            left_out[fix.name] = f"{so_far.name} has it already"
            continue
        so_far, applied = tried, done
        names.append(fix.name)
    return Fixed(applied, tuple(names), left_out)
