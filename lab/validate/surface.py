# SPDX-License-Identifier: GPL-2.0-or-later
"""What a series adds to the interface that its kernel uses, before anything is built."""

from __future__ import annotations

from lab.model.kernel import AppliedSeries, KernelSource
from lab.model.surface import Addition
from lab.surface import listing
from lab.surface.added import HEADERS, additions
from lab.surface.derive import files_of, tree_reader


def added(source: KernelSource, applied: AppliedSeries) -> tuple[Addition, ...]:
    """New hypercalls, MSRs, CPUID leaves, registers and properties, with what the stand-in does then."""
    before, overlay = tree_reader(source.tree), tree_reader(applied.overlay)
    changed, gone = frozenset(applied.files), frozenset(applied.deleted)

    def after(path: str) -> str | None:
        return overlay(path) if path in changed else None if path in gone else before(path)

    touched = [*applied.files, *applied.deleted]
    headers = [*files_of(source.tree, (HEADERS,)), *(f for f in touched if f.startswith(HEADERS))]
    return additions(before, after, touched, dict.fromkeys(headers), listing.load())


def told(found: tuple[Addition, ...]) -> list[str]:
    """Sentences about what the stand-in does not have, for somebody who is about to wait for a build."""
    return [a.text for a in found if a.counts]
