# SPDX-License-Identifier: GPL-2.0-or-later
"""What a series was made on: told, found by its commit or its blobs, or else the newest that takes it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.cache import Cache
from lab.hashing import digest
from lab.model.errors import BadInput, LabError, LabUnavailable
from lab.model.kernel import KernelSource
from lab.model.nightly import BaseFound, BaseGuess, InboxSeries
from lab.model.series import Series
from lab.nightly.commits import History
from lab.progress import Progress
from lab.series import apply
from lab.series.blobs import git_blob, matching, new_blobs, old_blobs
from lab.source import resolve
from lab.source.archive import Archive
from lab.source.git import split_spec
from lab.source.specs import cached

MAX_TRIED = 12
"""Candidates that a series is tried on when none has all its blobs."""

MAX_FETCHED = 2
"""Debian sources that are fetched for one series when the cache has none that takes it; each is 150 MiB,
and 1.8 GiB unpacked."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A kernel: its name for people, what selects it, how to get at its blobs and at a source to try."""

    name: str
    blobs: Callable[[], Mapping[str, str]]
    source: Callable[[], KernelSource]
    base: str = ""
    tree: str = ""


@dataclass(frozen=True, slots=True)
class _Search:
    """A series, and the blobs that it was made against, by path."""

    series: InboxSeries
    wanted: Mapping[str, str]
    progress: Progress

    @property
    def files(self) -> tuple[str, ...]:
        return tuple(sorted({f for p in self.series.patches for f in p.files}))

    @property
    def to_apply(self) -> Series:
        patches = self.series.patches
        return Series(self.series.title, patches, key=digest("tried", *(p.raw for p in patches)))


def guess(
    series: InboxSeries,
    base: str | None,
    tree: str | None,
    cache: Cache,
    progress: Progress,
    *,
    fetch: int = MAX_FETCHED,
) -> BaseGuess:
    """Find the base of a series.

    ``base`` is what the user gave as ``--base``, ``tree`` as ``--tree``. They are taken as they are, but
    for a ``tree`` without a revision, whose history is searched. Without either, Debian's sources are
    looked at: those in the cache, and at most ``fetch`` others. BadInput when ``tree`` is no git tree.
    Nothing fits: found is NONE, and ``how`` has the reason of each candidate.
    """
    if base and tree:
        raise BadInput("--base and --tree exclude each other", hint="give one of them")
    if base:
        return BaseGuess(BaseFound.GIVEN, f"given as --base {base}", base=base)
    if tree and split_spec(tree)[1] is not None:
        return BaseGuess(BaseFound.GIVEN, f"given as --tree {tree}", tree=tree)
    if not series.patches:
        return BaseGuess(BaseFound.NONE, "the series has no patches")
    search = _Search(series, old_blobs(series.patches), progress)
    if tree:
        with History.of(Path(tree)) as history:
            return _in_history(search, history)
    return _in_sources(search, cache, fetch)


def _in_history(search: _Search, history: History) -> BaseGuess:
    named = search.series.base_commit
    if named and history.has(named):
        how = f"the series names base-commit {named[:12]}, which is in {history.repo}"
        if search.wanted:
            how += f"; {_hits(search, history.blobs(named, search.files))} of it"
        return BaseGuess(BaseFound.BASE_COMMIT, how, tree=history.spec(named))
    with tempfile.TemporaryDirectory(prefix="hvlab-base-") as temp:

        def candidate(commit: str, name: str) -> _Candidate:
            return _Candidate(
                name=name,
                blobs=lambda: history.blobs(commit, search.files),
                source=lambda: history.part(commit, search.files, Path(temp, commit)),
                tree=history.spec(commit),
            )

        candidates = [candidate(c.id, c.name) for c in history.candidates(search.files)]
        return _choose(search, candidates, Cache(Path(temp, "cache")))


def _in_sources(search: _Search, cache: Cache, fetch: int) -> BaseGuess:
    kept = [s for s in cached(cache) if s.lock.kind == "debian"]
    kept.sort(key=lambda s: s.version, reverse=True)
    best = _choose(search, [_of_source(s, search.wanted) for s in kept], cache)
    if best.found is not BaseFound.NONE or fetch <= 0:
        return best
    fetched, notes = _fetch(cache, search.progress, {s.lock.version for s in kept}, fetch)
    found = _choose(search, [_of_source(s, search.wanted) for s in fetched], cache)
    if found.found is not BaseFound.NONE:
        return found
    told = [best.how] if kept else []
    told += notes + ([found.how] if fetched else [])
    return BaseGuess(BaseFound.NONE, "; ".join(told) or "there is no kernel source to try")


def _of_source(source: KernelSource, wanted: Mapping[str, str]) -> _Candidate:
    return _Candidate(
        name=f"{source.lock.name} {source.lock.version}",
        blobs=lambda: {path: git_blob(source.tree / path) for path in wanted},
        source=lambda: source,
        base=f"debian:{source.lock.version}",
    )


def _fetch(
    cache: Cache, progress: Progress, known: set[str], most: int
) -> tuple[list[KernelSource], list[str]]:
    """The newest source of each kernel that the mirror offers and the cache lacks; and what went wrong."""
    try:
        offers = Archive(cache, progress).candidates()
    except LabUnavailable as e:
        return [], [f"Debian's mirror was not asked: {e.what}"]
    have = {o.package for o in offers if o.version in known}
    newest = {o.package: o for o in reversed(offers) if o.package not in have}
    found: list[KernelSource] = []
    notes: list[str] = []
    for offer in sorted(newest.values(), key=lambda o: o.kernel, reverse=True)[:most]:
        try:
            found.append(resolve(f"debian:{offer.version}", None, None, cache, progress))
        except LabError as e:
            notes.append(f"{offer.package} {offer.version} was not tried: {e.what}")
    return found, notes


def _choose(search: _Search, candidates: Sequence[_Candidate], cache: Cache) -> BaseGuess:
    """The first candidate that has all blobs; else, of those with most of them, the first that takes the
    series."""
    total = len(search.wanted)
    ranked: list[tuple[int, _Candidate]] = []
    for candidate in candidates:
        hits = matching(search.wanted, have := candidate.blobs())
        if total and hits == total:
            if wrong := _not_as_sent(search, candidate, cache):
                return BaseGuess(BaseFound.NONE, wrong)
            how = f"{_hits(search, have)} of {candidate.name}"
            return BaseGuess(BaseFound.BLOBS, how, candidate.base, candidate.tree)
        ranked.append((hits, candidate))
    ranked.sort(key=lambda r: -r[0])
    reasons: list[str] = []
    for hits, candidate in ranked[:MAX_TRIED]:
        search.progress.note(f"trying {search.series.title!r} on {candidate.name}")
        try:
            apply(candidate.source(), search.to_apply, cache, search.progress)
        except LabError as e:
            reasons.append(f"{candidate.name}: {e.where + ' ' if e.where else ''}{e.what}")
            continue
        blobs = f"; {hits} of its {total} old blobs are there" if total else ""
        how = f"the series applies to {candidate.name}{blobs}"
        return BaseGuess(BaseFound.APPLIES, how, candidate.base, candidate.tree)
    if len(ranked) > MAX_TRIED:
        reasons.append(f"{len(ranked) - MAX_TRIED} more candidates were not tried")
    return BaseGuess(BaseFound.NONE, "; ".join(reasons) or "there is no kernel source to try")


def _not_as_sent(search: _Search, candidate: _Candidate, cache: Cache) -> str:
    """Where hunks were mended and the base is known, the blobs that come out prove what was mended: why it
    is not what was sent, or ""."""
    if not search.series.repairs:
        return ""
    try:
        applied = apply(candidate.source(), search.to_apply, cache, search.progress)
    except LabError as e:
        return f"recovered wrongly from a quote: its old blobs are those of {candidate.name}, but it {e.what}"
    for path, blob in new_blobs(search.series.patches).items():
        have = git_blob(applied.overlay / path)
        if not have.startswith(blob):
            return (
                f"recovered wrongly from a quote: on {candidate.name}, {path} becomes blob {have[:12]}, "
                f"and its index line says {blob[:12]}"
            )
    return ""


def _hits(search: _Search, have: Mapping[str, str]) -> str:
    return f"{matching(search.wanted, have)} of {len(search.wanted)} old blobs are those"
