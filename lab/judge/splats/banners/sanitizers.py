# SPDX-License-Identifier: GPL-2.0-or-later
"""Banners of the sanitizers: mm/kasan, kernel/kcsan, mm/kmsan, mm/kfence, lib/ubsan.c."""

from __future__ import annotations

from lab.judge.splats.frames import SYMBOL
from lab.judge.splats.identity import Identity
from lab.judge.splats.rule import AT, End, Rule, rule
from lab.model.splat import SplatClass

BANNERS: tuple[Rule, ...] = (
    rule(
        SplatClass.KASAN,
        rf"BUG: KASAN: (?P<what>[\w -]{{1,60}}?) in {AT}",
        "KASAN: {what} in {func}",
        End.RULER,
        also=(
            "KASAN: {what} {access} in {func}",
            "KASAN: {what} in {where}",
        ),
    ),
    rule(
        SplatClass.KASAN,
        r"BUG: KASAN: (?P<what>.{1,120})",
        "KASAN: {what}",
        End.RULER,
        also=("KASAN: {what} in {where}",),
    ),
    rule(
        SplatClass.KCSAN,
        rf"BUG: KCSAN: (?P<what>[\w: -]{{1,60}}?) in {AT} / (?P<other>{SYMBOL})",
        "KCSAN: {what} in {func} / {other}",
        End.RULER,
        Identity.TITLE,
        also=("KCSAN: {what} in {other} / {func}",),
    ),
    rule(
        SplatClass.KCSAN,
        rf"BUG: KCSAN: (?P<what>[\w: -]{{1,60}}?) in {AT}",
        "KCSAN: {what} in {func}",
        End.RULER,
    ),
    rule(
        SplatClass.KMSAN,
        rf"BUG: KMSAN: (?P<what>[\w -]{{1,60}}?) in {AT}",
        "KMSAN: {what} in {func}",
        End.RULER,
        also=("KMSAN: {what} in {where}",),
    ),
    rule(
        SplatClass.KFENCE,
        rf"BUG: KFENCE: (?P<what>[\w -]{{1,60}}?) in {AT}",
        "KFENCE: {what} in {func}",
        End.RULER,
        also=("KFENCE: {what} in {where}",),
    ),
    rule(
        SplatClass.UBSAN,
        r"UBSAN: (?P<what>[\w-]{1,60}) in (?P<file>[^\s:]{1,200}):\d",
        "UBSAN: {what} in {file}",
        End.TRACE,
        also=("UBSAN: {what} in {where}",),
    ),
)
