# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of banners: which first line makes which splat, and how its report ends.

Every row has a log in tests/golden/splats. Rows are tried in order; the first that matches wins, so
the special stands before the general. Patterns are anchored at the start of the message: the word
WARNING inside other text is not a warning.
"""

from __future__ import annotations

import re

from lab.judge.splats.banners import faults, locks, messages, others, progress, sanitizers
from lab.judge.splats.rule import Rule

RULES: tuple[Rule, ...] = (
    *sanitizers.BANNERS,
    *locks.BANNERS,
    *progress.BANNERS,
    *messages.BANNERS,
    *faults.BANNERS,
    *others.BANNERS,
)

_WORDS = (
    *("BUG", "WARNING", "INFO: ", "Oops", "PANIC", "panic - ", "KASAN", "UBSAN", "LOCKUP", "[#", "list_"),
    *("general protection", "Internal error", "Unable to handle", "refcount_t: ", "ODEBUG: ", "IRQs "),
    *("disabled interrupts", "nobody cared", "suspected", "unreferenced", "WARN_ON("),
)
_TRIGGER = re.compile("|".join(map(re.escape, _WORDS)))
"""Every banner contains one of these; other lines cost one search."""
SIGNS = (*_WORDS, "cut here", "=" * 20, "dropped", "\x1b")
"""Outside of a report only lines with one of these count. An escape may stand inside a word."""
SIGN = re.compile("|".join(map(re.escape, SIGNS)))


def find(text: str) -> tuple[Rule, re.Match[str]] | None:
    """The rule whose banner ``text`` is."""
    if not _TRIGGER.search(text):
        return None
    for rule in RULES:
        m = rule.pattern.match(text)
        if m:
            return rule, m
    return None
