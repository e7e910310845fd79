# SPDX-License-Identifier: GPL-2.0-or-later
"""The first bad patch of several things at once, with kernels that do not tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lab.cache import Cache
from lab.model.errors import KernelBuildFailed
from lab.model.kernel import KernelImage
from lab.model.result import ScenarioOutcome
from lab.model.series import Patch, Series
from lab.model.verdict import Verdict
from lab.nightly.again import Kernel, Seen
from lab.nightly.bisect import Answer, Culprit, Told, first_bad
from lab.nightly.culprit import Prefixes


class Kernels:
    """Answers by a table of the first bad patch of each thing; counts what is asked."""

    def __init__(self, first: Mapping[str, int], silent: frozenset[int] = frozenset()) -> None:
        self.first, self.silent = first, silent
        self.asked: list[tuple[int, tuple[str, ...]]] = []

    def __call__(self, count: int, things: Sequence[str]) -> dict[str, Told]:
        self.asked.append((count, tuple(things)))
        if count in self.silent:
            return dict.fromkeys(things, Told(Answer.UNKNOWN, "no build"))
        return {t: Told(Answer.BAD if count >= self.first[t] else Answer.GOOD) for t in things}


def test_a_series_of_one_patch_asks_nothing() -> None:
    kernels = Kernels({"a": 1})
    assert first_bad(1, ["a"], kernels) == {"a": Culprit(1, 1, 1)}
    assert kernels.asked == []


def test_things_that_break_apart_are_found_with_few_kernels() -> None:
    kernels = Kernels({"a": 2, "b": 7, "c": 7})
    found = first_bad(8, ["a", "b", "c"], kernels)
    assert {t: c.patch for t, c in found.items()} == {"a": 2, "b": 7, "c": 7}
    assert kernels.asked[0] == (4, ("a", "b", "c"))
    assert len(kernels.asked) == len({count for count, _ in kernels.asked}) == 5


def test_a_kernel_that_tells_nothing_leaves_a_range_with_its_reason() -> None:
    found = first_bad(3, ["a"], Kernels({"a": 2}, frozenset({1, 2})))
    assert found["a"].patch == 0
    assert str(found["a"]) == (
        "first fails with one of patches 1 to 3: with 1 applied: no build; with 2 applied: no build"
    )


def test_what_was_not_run_is_no_answer() -> None:
    found = first_bad(2, ["a"], lambda count, things: {})
    assert (found["a"].patch, found["a"].why) == (0, "with 1 applied: it was not run")


@given(st.data())
def test_every_thing_is_found_or_enclosed(data: st.DataObject) -> None:
    total = data.draw(st.integers(1, 12))
    names = [str(n) for n in range(data.draw(st.integers(1, 4)))]
    first = {n: data.draw(st.integers(1, total)) for n in names}
    silent = frozenset(data.draw(st.sets(st.integers(1, total))))
    kernels = Kernels(first, silent)
    found = first_bad(total, names, kernels)
    assert set(found) == set(names)
    for name, culprit in found.items():
        assert culprit.first <= first[name] <= culprit.last
        assert culprit.patch in (0, first[name])
        if culprit.patch == 0:
            assert set(range(culprit.first, culprit.last)) <= silent
    assert all(0 < count < total for count, _ in kernels.asked)
    assert len(kernels.asked) == len(set(kernels.asked)), "nothing is asked twice"


AT = Path("/nonexistent")


class Runs:
    """Stands for runs of scenarios: by the number of patches in a kernel's key, what fails on it."""

    left = 1000.0

    def __init__(self, cache: Cache, fails: Mapping[str, set[str]]) -> None:
        self.builder = SimpleNamespace(cache=cache)
        self.fails = fails
        self.splats: dict[str, tuple[str, ...]] = {}
        self.asked: list[tuple[str, tuple[str, ...]]] = []

    def run(self, kernel: Kernel, ids: Sequence[str], name: str) -> Seen:
        self.asked.append((kernel.image.key, tuple(ids)))
        bad, splats = self.fails[kernel.image.key], self.splats.get(kernel.image.key, ())
        verdicts = {i: Verdict.FAIL if i in bad else Verdict.PASS for i in ids}
        return Seen({i: ScenarioOutcome(i, (), v, splats=tuple(splats)) for i, v in verdicts.items()})


def prefixes(runs: Runs, **more: KernelBuildFailed) -> Prefixes:
    patches = tuple(Patch(f"p{n}", "", "", b"", ()) for n in range(1, 5))
    names = {(n, 0): f"k{n}" for n in range(1, 4)} | {(1, 3): "k1and3", (0, 4): "k4alone"}
    built: dict[tuple[int, int], Any] = {
        at: more.get(name) or Kernel(KernelImage(name, "", "plain", AT, AT, AT, AT), None)
        for at, name in names.items()
    }
    return Prefixes(runs, Series("s", patches), None, None, "lab", built)  # type: ignore[arg-type]


def test_what_was_seen_of_a_kernel_is_not_asked_again(tmp_path: Path) -> None:
    runs = Runs(Cache(tmp_path), {"k1": set(), "k2": {"a"}, "k3": {"a"}})
    found = prefixes(runs).culprits(["a", "b"])
    assert {i: c.patch for i, c in found.items()} == {"a": 2, "b": 4}
    assert runs.asked == [("k2", ("a", "b")), ("k1", ("a",)), ("k3", ("b",))]
    again = Runs(Cache(tmp_path), {})
    assert prefixes(again).culprits(["a", "b"]) == found
    assert again.asked == []


def test_what_fails_on_base_too_is_put_down_by_the_splat_that_comes_with_the_series(tmp_path: Path) -> None:
    runs = Runs(Cache(tmp_path), {f"k{n}": {"a"} for n in (1, 2, 3)})
    runs.splats = {"k1": ("old",), "k2": ("old",), "k3": ("old", "new")}
    (found,) = prefixes(runs).culprits(["a"], {"a": frozenset({"new", "other"})}).values()
    assert found.patch == 3
    (by_failure,) = prefixes(runs).culprits(["a"]).values()
    assert by_failure.patch == 1, "what is known of one question is no answer to the other"


def test_a_patch_that_fails_without_those_before_it_is_the_culprit(tmp_path: Path) -> None:
    """Kernel 2 does not build: patch 3 on top of patch 1 decides between 2 and 3, and only if it fails."""
    for bad, patch in (({"a"}, 3), (set(), 0)):
        runs = Runs(Cache(tmp_path / str(patch)), {"k1": set(), "k3": {"a"}, "k1and3": bad})
        (found,) = prefixes(runs, k2=KernelBuildFailed("no semicolon")).culprits(["a"]).values()
        assert (found.patch, found.first, found.last, found.alone) == (patch, 2, 3, patch > 0)
        assert found.why == "with 2 applied: it does not build: no semicolon"
    assert str(found).startswith("first fails with one of patches 2 to 3: with 2 applied")
    assert str(replace(found, patch=3, alone=True)) == (
        "fails with patch 3 even without patch 2: with 2 applied: it does not build: no semicolon"
    )


def test_a_kernel_that_does_not_build_is_gone_round_and_told(tmp_path: Path) -> None:
    runs = Runs(Cache(tmp_path), {"k1": set(), "k3": {"a"}, "k1and3": set()})
    (found,) = prefixes(runs, k2=KernelBuildFailed("no semicolon")).culprits(["a"]).values()
    assert (found.patch, found.first, found.last) == (0, 2, 3)
    assert found.why == "with 2 applied: it does not build: no semicolon"
