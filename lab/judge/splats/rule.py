# SPDX-License-Identifier: GPL-2.0-or-later
"""One row of the table of banners, and the titles that it gives.

A title is what the lab calls a report. Other tools call the same report otherwise: by the function in
which it happened, by the words of its first line. ``also`` of a row holds those, so that a report found
elsewhere can be recognised.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from string import Formatter

from lab.judge.splats.frames import SYMBOL, base_name
from lab.judge.splats.identity import Identity, without_numbers
from lab.model.splat import SplatClass


class End(Enum):
    """What ends a report."""

    TRACE = "---[ end trace"
    RULER = "a line of equals signs"
    STACK = "the end of the stack"
    LOCKS = "the end of the list of held locks"
    LINE = "the banner itself"
    PANIC = "---[ end Kernel panic"


class Role(Enum):
    """How a banner goes together with another of the same report."""

    ALONE = "begins a report"
    CAUSE = "the message of a WARN or BUG that says more than it: takes over class and title"
    CARRIER = "WARNING or kernel BUG: carries the message of a CAUSE"
    FAULT = "says why; the Oops line that follows belongs to it"
    OOPS = "the Oops line"


@dataclass(frozen=True, slots=True)
class Rule:
    """One row. ``title`` and ``also`` may use the pattern's groups, ``{where}`` (the innermost function that
    says something), ``{caller}`` (the same behind the lock functions), ``{access}`` (read or write) and
    ``{locks}``.

    Groups ``task``, ``pid`` and ``cpu`` are taken over. ``locks`` is how many lock lines of the report
    are named in the title.
    """

    cls: SplatClass
    pattern: re.Pattern[str]
    title: str
    end: End
    identity: Identity = Identity.INNER
    role: Role = Role.ALONE
    locks: int = 0
    also: tuple[str, ...] = ()


AT = rf"(?P<func>{SYMBOL})(?:\+0x[0-9a-f]+/0x[0-9a-f]+)?"
TASK = r"(?P<task>.{1,32})/(?P<pid>\d{1,9})"
DIE = r"(?:: [0-9a-f]{4} \[#\d+\]| \[#\d+\])"
_KIND = r"(?:\[ )?(?:WARNING|INFO|BUG): "
"""Lockdep banners changed their first word and lost their brackets over the years."""

_BEFORE_TREE = re.compile(
    r"(?<![^\s(])/(?!sys/|proc/)[^\s:]{0,200}?/?(?=(?:arch|block|crypto|drivers|fs|include|init|io_uring|ipc|kernel|lib|mm|net"
    r"|rust|security|sound|virt)/)"
)
"""Where a kernel was built: some reports name files as the compiler was called with them."""

TITLE_LIMIT = 200
"""Characters of an alternative title; a banner may carry a whole printk record."""


def rule(
    cls: SplatClass,
    pattern: str,
    title: str,
    end: End,
    identity: Identity = Identity.INNER,
    role: Role = Role.ALONE,
    also: tuple[str, ...] = (),
) -> Rule:
    """A row without locks."""
    return Rule(cls, re.compile(pattern), title, end, identity, role, also=also)


def lockdep(
    text: str,
    title: str,
    locks: int,
    identity: Identity = Identity.INNER,
    end: End = End.STACK,
    also: tuple[str, ...] = (),
) -> Rule:
    """A row of lockdep, whose title names locks."""
    return Rule(SplatClass.LOCKDEP, re.compile(_KIND + text), title, end, identity, locks=locks, also=also)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the lines below a banner told for the title."""

    groups: dict[str, str]
    where: str = ""
    caller: str = ""
    locks: tuple[str, ...] = ()
    place: str = ""
    access: str = ""


def title_of(rule: Rule, facts: Facts) -> str:
    """``rule``'s title filled in; parts that the report did not tell are left out."""
    template = rule.title
    if not facts.where:
        template = template.replace(" in {where}", "")
    if not facts.locks:
        template = template.replace(": {locks}", "")
    return template.format_map(_values(facts))


def also_titles(rule: Rule, facts: Facts, banners: tuple[str, ...]) -> tuple[str, ...]:
    """Other titles of the report: the row's own, as far as its facts are known, then the banners themselves
    without what differs from boot to boot."""
    values = _values(facts)
    titles = [
        template.format_map(values)
        for template in rule.also
        if all(values.get(name) for _, name, _, _ in Formatter().parse(template) if name)
    ]
    titles += [without_numbers(_bare(banner))[:TITLE_LIMIT] for banner in banners]
    own = title_of(rule, facts)
    return tuple(title for title in dict.fromkeys(titles) if title and title != own)


def _bare(banner: str) -> str:
    """Old lockdep banners stand in brackets."""
    framed = banner.startswith("[ ") and banner.endswith(" ]")
    return _in_tree(banner[2:-2] if framed else banner.strip())


def _in_tree(text: str) -> str:
    return _BEFORE_TREE.sub("", text) if "/" in text else text


def _values(facts: Facts) -> dict[str, str]:
    values = {name: value.strip() for name, value in facts.groups.items() if value}
    if "func" in values:
        values["func"] = base_name(values["func"])
    values["file"] = _in_tree(values.get("file", "?"))
    values.update(
        where=facts.where,
        caller=facts.caller,
        locks=" / ".join(facts.locks),
        place=f": {_in_tree(facts.place)}" if facts.place else "",
        access=facts.access,
    )
    return values
