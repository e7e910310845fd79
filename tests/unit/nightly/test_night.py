# SPDX-License-Identifier: GPL-2.0-or-later
"""What a nightly takes for done, what it compares with, and how it ends."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import sample

from lab.model.errors import BadInput, ExitCode, LabUnavailable
from lab.model.kernel import KernelSource
from lab.model.nightly import BaseFound, BaseGuess, Inbox, InboxSeries, Variant, VersionReport
from lab.model.series import Series
from lab.model.verdict import Verdict
from lab.nightly import night as nights
from lab.nightly import publish, store
from lab.nightly.night import NightlyRequest, exit_code, night
from lab.nightly.places import Out
from lab.progress import NullProgress

REPORT = sample.REPORT


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A nightly removes labs that nobody holds: not those of whoever runs the tests."""
    monkeypatch.setenv("HVLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HVLAB_STATE", str(tmp_path / "state"))


def version(verdict: Verdict) -> VersionReport:
    return next(v for v in REPORT.versions if v.verdict is verdict and not v.series.problem)


@pytest.mark.parametrize(
    ("judged", "code"),
    [
        ((), ExitCode.PASS),
        ((Verdict.PASS,), ExitCode.PASS),
        ((Verdict.PASS, Verdict.INCONCLUSIVE), ExitCode.INCONCLUSIVE),
        ((Verdict.INCONCLUSIVE, Verdict.FAIL), ExitCode.FAIL),
    ],
)
def test_a_run_ends_with_the_worst_that_it_judged_itself(judged: tuple[Verdict, ...], code: ExitCode) -> None:
    found = REPORT.versions
    ids = tuple(next(v.series.id for v in found if v.verdict is verdict) for verdict in judged)
    assert exit_code(replace(REPORT, judged=ids)) is code


def test_what_was_lost_or_asked_otherwise_is_judged_again() -> None:
    good = replace(version(Verdict.PASS), key="k")
    assert nights._done(good, "k")
    assert not nights._done(good, "other matrix")
    assert not nights._done(None, "k")
    lost = replace(good, variants=(replace(good.variants[0], lost="the host died"), *good.variants[1:]))
    assert not nights._done(lost, "k")


def test_a_version_is_compared_with_the_newest_older_one() -> None:
    one = version(Verdict.PASS)
    v = {n: replace(one, series=replace(one.series, topic="t", version=n)) for n in (1, 2, 4)}
    other = replace(one, series=replace(one.series, topic="u", version=3))
    found = nights._before(v[4], [v[1], v[4], other, v[2]])
    assert found is v[2]
    assert nights._before(v[1], v.values()) is None


PROBLEM = InboxSeries(
    "half",
    1,
    "Half of it",
    "A <a@example.org>",
    "2026-11-01",
    "<h@example.org>",
    (),
    "",
    problem="patch 2/2 is missing",
)


def test_series_that_cannot_be_judged_is_published_and_not_looked_at_again(
    tmp_path: Path,
) -> None:
    request = NightlyRequest(Inbox((PROBLEM,)), tmp_path / "out", (Variant(),))
    first = night(request, NullProgress())
    assert (first.judged, exit_code(first)) == (("half/v1",), ExitCode.INCONCLUSIVE)
    out = Out(tmp_path / "out")
    assert all(out.version("half/v1").voice(name).is_file() for name in publish.VOICES)
    assert (out.site / "index.html").is_file()
    assert "patch 2/2 is missing" in out.version("half/v1").voice("reply.txt").read_text()
    kept = store.load(out.version("half/v1").report, VersionReport)
    assert kept.base == BaseGuess(BaseFound.NONE, "not looked for: patch 2/2 is missing")
    second = night(request, NullProgress())
    assert (second.judged, second.skipped, exit_code(second)) == ((), ("half/v1",), ExitCode.PASS)
    out.version("half/v1").voice("reply.txt").unlink()
    night(request, NullProgress())
    assert out.version("half/v1").voice("reply.txt").is_file(), (
        "what a killed nightly left out is made up for"
    )
    assert not [p for p in out.root.rglob(".*") if p.is_file() and p.name != ".hvlab-site"]


def test_name_that_no_series_has_is_refused(tmp_path: Path) -> None:
    request = NightlyRequest(Inbox((PROBLEM,)), tmp_path / "out", (Variant(),), only=("hlaf",))
    with pytest.raises(BadInput, match="no such series: hlaf"):
        night(request, NullProgress())


WHOLE = replace(sample.REPORT.versions[0].series, topic="whole", problem="", repairs=())


def test_base_that_cannot_be_fetched_is_told_of_its_series_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: object) -> BaseGuess:
        raise LabUnavailable("no mirror answers", hint="connect the machine")

    monkeypatch.setattr("lab.nightly.bases.guess", offline)
    request = NightlyRequest(Inbox((WHOLE, PROBLEM)), tmp_path / "out", (Variant(),))
    report = night(request, NullProgress())
    (found,) = (v for v in report.versions if v.series.topic == "whole")
    assert (found.verdict, exit_code(report)) == (Verdict.INCONCLUSIVE, ExitCode.INCONCLUSIVE)
    assert "no mirror answers" in found.checks[0].note
    assert night(request, NullProgress()).judged == ("whole/v1",), "it may answer the next night"


def test_result_for_other_patches_of_the_same_version_is_not_taken(tmp_path: Path) -> None:
    """A version that was sent again with other content under its old number."""
    request = NightlyRequest(Inbox(()), tmp_path / "out", (Variant(),))
    work = nights._Night(request, Out(tmp_path / "out"), NullProgress())
    source = cast(KernelSource, object())
    guess = BaseGuess(BaseFound.GIVEN, "given", base="debian")

    def result_left(key: str) -> bool:
        (task,) = work._tasks(nights._Ready(replace(WHOLE, key=key), guess, source))
        result = task.parent / "variants" / "plain" / "variant.json"
        left = result.exists()
        result.parent.mkdir(parents=True, exist_ok=True)
        result.write_text("{}")
        return left

    assert not result_left("one")
    assert result_left("one"), "nothing has changed"
    assert not result_left("other")


def judged(tmp_path: Path, *series: InboxSeries) -> dict[str, VersionReport]:
    report = night(NightlyRequest(Inbox(series), tmp_path / "out", (Variant(),)), NullProgress())
    return {v.series.id: v for v in report.versions}


@pytest.mark.parametrize("step", ["write_mbox", "kernels.read_series", "kernels.apply"])
def test_a_series_that_the_lab_refuses_is_told_of_it_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def refused(*_: object) -> None:
        raise BadInput("drivers/hv is a folder in the base", where="series")

    given = BaseGuess(BaseFound.GIVEN, "given", base="debian")
    whole = cast(Series, SimpleNamespace(key=WHOLE.key))
    monkeypatch.setattr(nights.bases, "guess", lambda *_: given)
    monkeypatch.setattr(nights.kernels, "read_series", lambda *_: whole)
    monkeypatch.setattr(nights.kernels, "fetch", lambda *_: None)
    monkeypatch.setattr(f"lab.nightly.night.{step}", refused)
    found = judged(tmp_path, WHOLE, PROBLEM)
    assert found["whole/v1"].verdict is Verdict.INCONCLUSIVE and "half/v1" in found
    assert "drivers/hv is a folder" in found["whole/v1"].checks[0].note


def test_what_reads_back_as_another_series_is_not_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nights.bases, "guess", lambda *_: BaseGuess(BaseFound.GIVEN, "given", base="debian"))
    monkeypatch.setattr(nights.kernels, "read_series", lambda *_: SimpleNamespace(key="another"))
    found = judged(tmp_path, WHOLE)["whole/v1"]
    assert found.verdict is Verdict.INCONCLUSIVE and "does not read back" in found.checks[0].note


def test_a_name_that_another_series_has_now_shows_nothing_of_the_one_before(tmp_path: Path) -> None:
    old = [replace(PROBLEM, version=n, message_id=f"<b{n}@x>", author="B <b@example.org>") for n in (1, 2)]
    assert set(judged(tmp_path, *old)) == {"half/v1", "half/v2"}
    moved = [replace(s, topic="half-b") for s in old]
    assert set(judged(tmp_path, PROBLEM, *moved)) == {"half/v1", "half-b/v1", "half-b/v2"}
    assert set(judged(tmp_path, PROBLEM)) == {"half/v1", "half-b/v1", "half-b/v2"}, "v2 is not of this author"
    later = replace(PROBLEM, version=3, message_id="<h3@example.org>")
    assert set(judged(tmp_path, later)) == {"half/v1", "half/v3", "half-b/v1", "half-b/v2"}


def test_a_damaged_report_is_passed_over(tmp_path: Path) -> None:
    judged(tmp_path, PROBLEM)
    Out(tmp_path / "out").version("half/v1").report.write_text("{")
    other = replace(PROBLEM, topic="other", message_id="<o@example.org>")
    assert set(judged(tmp_path, PROBLEM, other)) == {"half/v1", "other/v1"}
