# SPDX-License-Identifier: GPL-2.0-or-later
"""A splat's id: the same for the same complaint on every boot, readable at its front.

``class/words-of-the-title/hash``; numbers and addresses do not count, of the frames only those that do
not depend on where an interrupt happened to hit.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from enum import Enum

from lab.judge.splats.frames import innermost, outermost
from lab.model.splat import SplatClass

FRAMES = 3
"""Frames that count: fewer merge defects, more split one defect by its callers."""
SLUG_LIMIT = 60


class Identity(Enum):
    """Which part of the stack tells two complaints of one title apart."""

    INNER = "innermost frames"
    OUTER = "outermost frames"
    """For watchdogs: the innermost frames are wherever the CPU happened to be."""
    TITLE = "none"
    """For reports whose sides swap from boot to boot, and for the end of a kernel."""


_NUMBER = re.compile(r"0x[0-9a-fA-F]+|\b[0-9a-f]{8,}\b|\d+")
_NOT_SLUG = re.compile(r"[^A-Za-z0-9_.]+")


def without_numbers(text: str) -> str:
    """``text`` with ``#`` for every number and address: what is left is the same on every boot."""
    return _NUMBER.sub("#", text)


def splat_id(cls: SplatClass, title: str, names: Sequence[str], identity: Identity) -> str:
    """The id of a splat of ``cls`` with ``title`` and frames ``names`` (innermost first)."""
    plain = without_numbers(title)
    frames: tuple[str, ...] = ()
    if identity is Identity.INNER:
        frames = innermost(names, FRAMES)
    elif identity is Identity.OUTER:
        frames = outermost(names, FRAMES - 1)
    digest = hashlib.sha256("\n".join((cls.value, plain, *frames)).encode("utf-8", "replace"))
    slug = _NOT_SLUG.sub("-", plain)[:SLUG_LIMIT].strip("-.").lower()
    return f"{cls.value}/{slug}/{digest.hexdigest()[:8]}"
