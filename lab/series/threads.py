# SPDX-License-Identifier: GPL-2.0-or-later
"""Which patch mails are one version of one series, and which versions are of one topic. Pure."""

from __future__ import annotations

import bisect
import difflib
import re
import unicodedata
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Generic, TypeVar

from lab.hashing import digest
from lab.series.letters import Letter

T = TypeVar("T", bound=Hashable)
T2 = TypeVar("T2")
K = TypeVar("K", bound=Hashable)

_ALIKE = 0.8
"""How alike two titles must be (difflib's ratio) to be taken for one series' as a last resort."""

_ALIKE_LINKED = 0.5
"""The same for what a cover letter links to."""

_FILES_SHARED = 0.5
_SENT_TOGETHER = 24 * 3600
"""Seconds within which an unthreaded series' mails are sent."""

_DEEP = 100
"""Mails of a thread in which a circle is looked for."""

_CANDIDATES = 60
"""Series of an author, the last ones, among which an earlier version is looked for as a last resort."""

_SLUG = 48
_B4_CHANGE_ID = re.compile(r"(?:\d{8}-)?(.+?)(?:-[0-9a-f]{8,40})?")


class Groups(Generic[T]):
    """Things that belong together, by pairs (union-find). The first of a group is its name."""

    def __init__(self, things: Iterable[T]) -> None:
        self._up = {thing: thing for thing in things}

    def name(self, thing: T) -> T:
        """One member that stands for the group of ``thing``."""
        while self._up[thing] != thing:
            self._up[thing] = self._up[self._up[thing]]
            thing = self._up[thing]
        return thing

    def join(self, one: T, other: T) -> None:
        """Make the groups of two things one."""
        self._up[self.name(other)] = self.name(one)

    def all(self) -> list[list[T]]:
        """The groups, and their members in the order that was given first."""
        found: dict[T, list[T]] = {}
        for thing in self._up:
            found.setdefault(self.name(thing), []).append(thing)
        return list(found.values())


def split(letters: Iterable[Letter]) -> list[tuple[Letter, ...]]:
    """Patches and cover letters to sets that are one version of one series each, by number within; some
    sets are not whole. The result does not depend on the order of ``letters``."""
    ordered = sorted(letters, key=lambda m: (m.date, m.tag.number, m.id))
    # [PATCH 4/3] was sent as an afterthought: it is no part of what was posted.
    numbered = [m for m in ordered if m.tag.numbered and m.tag.number <= m.tag.total]
    whole: list[list[Letter]] = [[m] for m in ordered if not m.tag.numbered or m.tag.number > m.tag.total]
    parts: list[list[Letter]] = []
    for group in _threaded(numbered):
        by_total = _by(group, lambda m: m.tag.total)
        if len(by_total) > 1 and not all(_whole(g) for g in by_total.values()):
            # Two series mixed, or one misnumbered: nobody can tell, and the checks will say so.
            whole.append(group)
            continue
        for same in by_total.values():
            (whole if _whole(same) else parts).append(same)
    # What answers nothing may have been sent without threading; a later version may answer an earlier one,
    # each patch by itself.
    roots = _roots(ordered)
    for alike in _by(parts, lambda g: (*_kind(g[0]), g[0].tag.total, roots[g[0].id])).values():
        whole += _gathered(alike)
    sets = [tuple(sorted(g, key=lambda m: (m.tag.number, m.date, m.id))) for g in whole]
    return sorted(sets, key=lambda g: (min(m.date for m in g), g[0].id))


def _kind(letter: Letter) -> tuple[Hashable, ...]:
    """What all mails of one version have in common. Without a Message-ID the mail was never sent: its
    From is the patch's author, not the series'."""
    return letter.tag.version, letter.tag.resend, letter.address if letter.named else ""


def _threaded(letters: list[Letter]) -> list[list[Letter]]:
    known = {m.id: m for m in letters}
    groups = Groups(m.id for m in letters)
    under: dict[Hashable, str] = {}
    for letter in letters:
        if not letter.parents or letter.cover:
            continue  # what a cover letter answers is another series, or another version
        kin = [p for p in letter.parents if p in known and _kind(known[p]) == _kind(letter)]
        if kin and (letter.tag.number != 1 or known[kin[0]].cover):
            groups.join(kin[0], letter.id)
        if letter.parents[0] not in known:
            # The cover letter that all patches answer may be missing.
            sibling = under.setdefault((_kind(letter), letter.parents[0]), letter.id)
            groups.join(sibling, letter.id)
    return [[known[i] for i in ids] for ids in groups.all()]


def _roots(letters: list[Letter]) -> dict[str, str]:
    """{id: where its thread begins, as far as is known}; "" for what answers nothing."""
    known = {m.id: m for m in letters}
    found: dict[str, str] = {}
    for letter in letters:
        path: list[str] = []
        at = letter.id
        while at in known and known[at].parents and at not in found and at not in path[-_DEEP:]:
            path.append(at)
            at = known[at].parents[-1]
        root = found.get(at) or (at if path else "")
        found |= dict.fromkeys(path, root)
        found.setdefault(letter.id, root)
    return found


def _whole(group: Sequence[Letter]) -> bool:
    have = {m.tag.number for m in group}
    return all(n in have for n in range(1, group[0].tag.total + 1))


def _gathered(parts: list[list[Letter]]) -> list[list[Letter]]:
    """Parts of series that nothing ties together but author, version and count: those sent together, and
    if there are several such series, one after the other."""
    letters = sorted((m for p in parts for m in p), key=lambda m: (m.date, m.tag.number, m.id))
    lots: list[list[Letter]] = []
    for letter in letters:
        if lots and (not letter.named or letter.date - lots[-1][-1].date <= _SENT_TOGETHER):
            lots[-1].append(letter)
        else:
            lots.append([letter])
    found = []
    for lot in lots:
        numbers = [m.tag.number for m in lot]
        if len(set(numbers)) == len(numbers):
            found.append(lot)
            continue
        starts = [0, *(i for i, (a, b) in enumerate(pairwise(numbers), 1) if b <= a), len(lot)]
        runs = [lot[a:b] for a, b in pairwise(starts)]
        found += runs if all(_whole(run) for run in runs) else [lot]
    return found


@dataclass(frozen=True, slots=True)
class Draft:
    """What is known of one version before it has a topic.

    ``ids`` are the message ids of its mails, ``answers`` those that its first mail answers, ``links`` those
    that it links to, with the version of this series that it says they are; ``files`` are what it touches,
    ``subjects`` those of its patches.
    """

    version: int
    title: str
    address: str
    date: int
    ids: frozenset[str]
    answers: frozenset[str]
    links: frozenset[tuple[str, int]]
    change_id: str
    files: frozenset[str]
    subjects: tuple[str, ...]
    rfc: bool = False

    @property
    def order(self) -> tuple[int, int, str]:
        """Sort key: older versions first."""
        return self.version, self.date, min(self.ids)


def topics(drafts: Sequence[Draft]) -> dict[Draft, tuple[str, str]]:
    """{draft: (its topic, what ties it to the others of it)}; "" ties what has no others."""
    ordered = sorted(drafts, key=lambda d: d.order)
    groups = Groups(ordered)
    tied: dict[Draft, str] = {}

    def tie(one: Draft, other: Draft, by: str) -> None:
        groups.join(one, other)
        for draft in (one, other):
            tied.setdefault(draft, by)

    for same in _by([d for d in ordered if d.change_id], lambda d: d.change_id).values():
        for other in same[1:]:
            tie(same[0], other, "change-id")
    owner = {i: d for d in ordered for i in d.ids}
    for draft in ordered:
        before = [d for d in {owner[i] for i in draft.answers if i in owner} if _follows(draft, d)]
        # A cover letter links to what it is based on as well as to its own earlier versions.
        linked = {(owner[i], version) for i, version in draft.links if i in owner}
        before = before or [
            d for d, version in linked if _follows(draft, d) and (version == d.version or _is_like(draft, d))
        ]
        if before:
            tie(max(before, key=lambda d: d.order), draft, "in-reply-to")
    for same in _by(ordered, lambda d: (d.address, _plain(d.title))).values():
        for at, draft in enumerate(same[1:], 1):
            near = [d for d in same[max(0, at - _CANDIDATES) : at] if not _told_apart(d, draft)]
            # The same title twice without a version is two patches, unless they are about the same files.
            near = [d for d in near if d.version != draft.version or _may_be_one(d, draft)]
            if near and all(groups.name(d) != groups.name(draft) for d in near):
                tie(max(near, key=lambda d: (_shared(d.files, draft.files) > 0, d.order)), draft, "subject")
    for draft, other in _last_resort(ordered, groups):
        tie(other, draft, "subject")
    found = [part for group in groups.all() for own in _by_owner(group) for part in _without_rfcs(own)]
    return _named(found, tied)


def _by_owner(group: list[Draft]) -> list[list[Draft]]:
    """A topic, and apart from it what others sent under a number that its author sent too: a series may be
    taken over, but nobody's version takes the place of the author's."""
    owner = min(group, key=lambda d: (d.date, d.order)).address
    taken = {d.version for d in group if d.address == owner}
    rivals = {d.address for d in group if d.address != owner and d.version in taken}
    return [
        part for part in _by(group, lambda d: d.address if d.address in rivals else owner).values() if part
    ]


def _without_rfcs(group: list[Draft]) -> list[list[Draft]]:
    """A topic, or two: requests for comments are counted by themselves if patches with a number that is not
    higher came after them. RFC v2 is older than PATCH v1."""
    asked = [d for d in group if d.rfc]
    rest = [d for d in group if not d.rfc]
    if any(p.version <= r.version and p.date >= r.date for r in asked for p in rest):
        return [rest, asked]
    return [group]


def _may_be_one(one: Draft, other: Draft) -> bool:
    return not one.files or not other.files or bool(one.files & other.files)


def _last_resort(ordered: list[Draft], groups: Groups[Draft]) -> list[tuple[Draft, Draft]]:
    """For a later version whose earlier ones nothing names: the most alike of the same author."""
    versions: dict[Draft, set[int]] = {}
    for draft in ordered:
        versions.setdefault(groups.name(draft), set()).add(draft.version)
    by_author = _by(sorted(ordered, key=lambda d: (d.date, d.order)), lambda d: d.address)
    found = []
    for draft in ordered:
        mine = versions[groups.name(draft)]
        if min(mine) < draft.version or draft.version < 2:
            continue
        near = [
            (_alike(draft, other), other.version, other.date, other)
            for other in _last_before(draft, by_author[draft.address])
            if not mine & versions[groups.name(other)] and not _told_apart(draft, other)
        ]
        likely = [n for n in near if n[0] >= _ALIKE]
        if likely:
            best = max(likely, key=lambda n: (n[:3], min(n[3].ids)))[3]
            found.append((draft, best))
            joined = mine | versions[groups.name(best)]
            versions[groups.name(draft)] = versions[groups.name(best)] = joined
    return found


def _last_before(draft: Draft, others: list[Draft]) -> list[Draft]:
    """Those of ``others``, sorted by when they were sent, that are an earlier version and no younger."""
    end = bisect.bisect_right(others, draft.date, key=lambda d: d.date)
    return [d for d in others[max(0, end - _CANDIDATES) : end] if d.version < draft.version]


def _follows(draft: Draft, other: Draft) -> bool:
    """Whether a version that answers another one is a later one of the same series, or it sent again."""
    if draft is other or _told_apart(draft, other):
        return False
    if _same_title(draft, other):
        return True
    later = draft.version > other.version or (draft.version == other.version and _same_patches(draft, other))
    return draft.address == other.address and later


def _told_apart(one: Draft, other: Draft) -> bool:
    return bool(one.change_id and other.change_id and one.change_id != other.change_id)


def _same_title(one: Draft, other: Draft) -> bool:
    return _plain(one.title) == _plain(other.title)


def _alike(one: Draft, other: Draft) -> float:
    """0 (nothing in common) to 1. Titles alone do not do: "Fix a leak in x" is like "Fix a leak in y"."""
    if _same_patches(one, other):
        return 1.0
    if _shared(one.files, other.files) < _FILES_SHARED:
        return 0.0
    return difflib.SequenceMatcher(None, _plain(one.title)[:200], _plain(other.title)[:200]).ratio()


def _same_patches(one: Draft, other: Draft) -> bool:
    """Whether half of the subjects are in both."""
    mine, theirs = ({_plain(s) for s in d.subjects} for d in (one, other))
    return bool(mine and theirs) and 2 * len(mine & theirs) >= max(len(mine), len(theirs))


def _is_like(one: Draft, other: Draft) -> bool:
    return _same_title(one, other) or _alike(one, other) >= _ALIKE_LINKED


def _shared(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / max(1, len(one | other))


def _named(groups: list[list[Draft]], tied: dict[Draft, str]) -> dict[Draft, tuple[str, str]]:
    """Topic names: from the change-id, which no version changes, else from the oldest version's title.
    Of two topics with one name the older one keeps it."""
    found: dict[Draft, tuple[str, str]] = {}
    taken: set[str] = set()
    for group in sorted(groups, key=lambda g: (min(d.date for d in g), min(d.order for d in g))):
        first = min(group, key=lambda d: d.order)
        core = _B4_CHANGE_ID.fullmatch(first.change_id)
        ids = [d.change_id for d in group if d.change_id]
        if not first.change_id and ids:
            core = _B4_CHANGE_ID.fullmatch(ids[0])
        name = slug(("rfc " if first.rfc and not core else "") + (core[1] if core else first.title))
        if name in taken:
            mark = digest("topic", ids[0] if ids else f"{first.address} {_plain(first.title)}")
            name = next(n for size in range(6, 21) if (n := f"{name}-{mark[:size]}") not in taken)
        taken.add(name)
        for draft in group:
            found[draft] = (name, tied.get(draft, "") if len(group) > 1 else "")
    return found


def slug(title: str) -> str:
    """Letters, digits and hyphens of a title, at most 48, fit for a folder's name; never empty."""
    plain = unicodedata.normalize("NFKD", title[:400]).encode("ascii", "ignore").decode().lower()
    name = "-".join(re.findall(r"[a-z0-9]+", plain))
    if len(name) > _SLUG:
        cut = name[: _SLUG + 1].rpartition("-")[0] or name
        name = cut[:_SLUG]
    return name or f"series-{digest('title', title)[:6]}"


def _plain(title: str) -> str:
    return " ".join(re.findall(r"\w+", title.lower()))


def _by(things: Iterable[T2], key: Callable[[T2], K]) -> dict[K, list[T2]]:
    found: dict[K, list[T2]] = {}
    for thing in things:
        found.setdefault(key(thing), []).append(thing)
    return found
