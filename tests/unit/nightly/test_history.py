# SPDX-License-Identifier: GPL-2.0-or-later
"""The history of nights: recorded once, asked often, and what is no history is left as it is."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import sample

from lab.model.errors import BadInput, LabUnavailable
from lab.model.nightly import NightlyReport, Scenario, Timing, VariantResult, VersionReport
from lab.model.verdict import Change, Verdict
from lab.nightly import history, history_file

PASS, FAIL, DOUBT = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
TABLES = ("runs", "versions", "variants", "scenarios", "timings", "splats")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "history.sqlite"


@pytest.fixture
def kept(path: Path) -> Iterator[history.History]:
    with history.opened(path) as found:
        yield found


def rows(path: Path) -> dict[str, list[object]]:
    with history_file.opened(path, create=False) as db:
        return {table: db.execute(f"SELECT * FROM {table}").fetchall() for table in TABLES}


def night(day: int, *versions: VersionReport) -> NightlyReport:
    """The run of one day of January 2027; its versions are judged then."""
    time = f"2027-01-{day:02}T03:00:00+00:00"
    judged = tuple(replace(v, finished=time, key=f"{day}") for v in versions)
    return NightlyReport(time, time, judged, tuple(v.series.id for v in judged), wall=60.0 * day)


def said(number: int, verdict: Verdict | None, *, seconds: float = 40.0, **values: object) -> VersionReport:
    """A version in which scenario ``s`` says something, in the plain variant."""
    scenario = Scenario("s", (), PASS, verdict, Change.SAME.value, verdict)
    variant = VariantResult(
        sample.PLAIN,
        verdict or DOUBT,
        scenarios=(replace(scenario, **values),),  # type: ignore[arg-type]
        timings=(Timing("boot", "patched", seconds, seconds),),
        host="local",
    )
    return VersionReport(replace(sample.VP_1, version=number), sample.VP_V1.base, variants=(variant,))


def test_recording_a_report_again_changes_nothing(path: Path) -> None:
    with history.opened(path) as found:
        assert found.record(sample.REPORT) == 6
    before = rows(path)
    assert {table: len(found) for table, found in before.items()} == {
        "runs": 1,
        "versions": 6,
        "variants": 10,
        "scenarios": 22,
        "timings": 42,
        "splats": 3,
    }
    with history.opened(path) as found:
        assert found.record(sample.REPORT) == 0
    assert rows(path) == before
    assert [p.name for p in path.parent.iterdir()] == [path.name], "nothing is left beside it"


def test_the_next_night_adds_only_what_it_judged(kept: history.History) -> None:
    kept.record(sample.REPORT)
    new = replace(sample.VP_V2, finished="2026-12-03T12:00:00+00:00", key="7777")
    more = replace(
        sample.REPORT,
        started="2026-12-03T10:30:00+00:00",
        versions=(*sample.VERSIONS[:3], new),
        judged=("vp-lifetime/v2",),
    )
    assert kept.record(more) == 1
    assert [(r.started, r.passed, r.failed, r.inconclusive) for r in kept.runs()] == [
        ("2026-12-03T10:30:00+00:00", 1, 0, 0),
        ("2026-12-02T10:30:00+00:00", 1, 1, 1),
    ]
    assert [r.passed for r in kept.runs(limit=1)] == [1]
    assert kept.runs()[1].wall == 9600.0 and kept.runs()[1].lab == "0.9.0"


def test_times_are_compared_in_utc(kept: history.History) -> None:
    early = replace(
        night(2, said(1, PASS)), started="2027-01-02T03:00:00+05:00", finished="2027-01-02T03:30:00"
    )
    kept.record(night(1, said(1, PASS)))
    kept.record(early)
    assert [r.started for r in kept.runs()] == ["2027-01-01T22:00:00+00:00", "2027-01-01T03:00:00+00:00"]
    with pytest.raises(BadInput, match="not a time: 'yesterday'"):
        kept.record(replace(early, started="yesterday"))


def test_trend_of_a_scenario_runs_from_old_to_new(kept: history.History) -> None:
    for day, verdict in enumerate((PASS, FAIL, DOUBT, None), 1):
        kept.record(night(day, said(day, verdict)))
    trend = kept.trend("s")
    assert [(p.version, p.patched, p.counts) for p in trend] == [
        (1, "pass", "pass"),
        (2, "fail", "fail"),
        (3, "inconclusive", "inconclusive"),
        (4, "", ""),
    ]
    assert {p.base for p in trend} == {"pass"}
    assert [p.version for p in kept.trend("s", limit=2)] == [3, 4]
    assert kept.trend("s", topic="other") == kept.trend("s", variant="debug") == kept.trend("t") == ()
    assert kept.trends() == {"vp-lifetime/s": ("pass", "fail", "inconclusive")}
    assert kept.trends(limit=1) == {"vp-lifetime/s": ("inconclusive",)}


def test_a_judgement_has_its_own_time_else_that_of_its_night(kept: history.History) -> None:
    kept.record(replace(sample.REPORT, versions=(sample.VP_V2, replace(sample.MMIO_V1, finished=""))))
    [own] = kept.trend("vp_outlives_its_file")
    assert own.time == sample.VP_V2.finished
    assert {p.time for p in kept.trend("bar_pages_are_mapped_right")} == {sample.REPORT.finished}


def test_trends_tell_the_worst_of_the_variants(kept: history.History) -> None:
    kept.record(sample.REPORT)
    trends = kept.trends()
    assert trends["mmio-on-demand/unmapped_gpa_reaches_the_vmm"] == ("pass", "fail")
    assert trends["mmio-on-demand/bar_pages_are_mapped_right"] == ("fail", "pass")


def test_splats_know_when_they_were_first_and_last_seen(kept: history.History) -> None:
    for day in (1, 2, 4):
        found = said(day, FAIL, splats=("warning/x/1",))
        outside = replace(found.variants[0], splats=("warning/x/1", f"bug/only-on-{day}"))
        kept.record(night(day, replace(found, variants=(outside,))))
    kept.record(night(3, said(3, PASS)))
    seen = kept.seen("warning/x/1")
    assert seen == history.Seen(
        "warning/x/1",
        "2027-01-01T03:00:00+00:00",
        "2027-01-04T03:00:00+00:00",
        "vp-lifetime/v1",
        "vp-lifetime/v4",
        3,
    )
    assert [s.id for s in kept.splats()] == ["bug/only-on-4", "bug/only-on-2", "warning/x/1", "bug/only-on-1"]
    assert kept.seen("warning/never") is None


@pytest.mark.parametrize(
    ("walls", "slower"),
    [
        ([40.0] * 6 + [60.0] * 3, (40.0, 60.0, 6)),
        ([40.0] * 6 + [49.0] * 3, None),
        ([4.0] * 6 + [8.0] * 3, None),
        ([40.0] * 6 + [40.0, 400.0, 40.0], None),
        ([60.0] * 6 + [40.0] * 3, None),
        ([40.0] * 2 + [90.0] * 3, None),
        ([9.0] * 9 + [40.0] * 12 + [90.0] * 3, (40.0, 90.0, 12)),
    ],
)
def test_a_phase_is_slower_when_its_median_is(
    kept: history.History, walls: list[float], slower: tuple[float, float, int] | None
) -> None:
    for day, wall in enumerate(walls, 1):
        kept.record(night(day, said(1, PASS, seconds=wall)))
    found = [(s.before, s.now, s.before_runs) for s in kept.slower(last=3)]
    assert found == ([slower] if slower else [])
    if slower == (40.0, 60.0, 6):
        assert str(kept.slower(last=3)[0]) == (
            "boot (patched) of plain on local takes 60.0 s (median of the last 3), "
            "it took 40.0 s (median of 6 before): +50 %"
        )


def test_a_phase_in_which_the_kernel_ended_is_no_measure(kept: history.History) -> None:
    for day in range(1, 7):
        found = said(1, PASS, seconds=1.0 if day < 4 else 400.0)
        variant = replace(found.variants[0], failed_phase="boot" if day < 4 else "")
        kept.record(night(day, replace(found, variants=(variant,))))
    assert kept.slower(last=3) == ()


def test_phases_of_different_hosts_are_not_mixed(kept: history.History) -> None:
    for day in range(1, 7):
        found = said(1, PASS, seconds=40.0 if day < 4 else 400.0)
        variant = replace(found.variants[0], host="fast" if day < 4 else "slow")
        kept.record(night(day, replace(found, variants=(variant,))))
    assert kept.slower(last=3) == ()
    with pytest.raises(BadInput, match="0 is no number of runs"):
        kept.slower(last=0)


def test_hint_names_the_first_version_and_patch_that_fails(kept: history.History) -> None:
    verdicts = {1: PASS, 2: DOUBT, 3: FAIL, 4: FAIL, 5: PASS}
    for version, verdict in verdicts.items():
        kept.record(night(version, said(version, verdict, culprit=2 if verdict is FAIL else 0)))
    [hint] = kept.hints("vp-lifetime", "s")
    assert (hint.fails_in, hint.patch, hint.passed_in, hint.passes_again_in) == (3, 2, 1, 5)
    assert str(hint) == (
        "s (plain) fails first in vp-lifetime/v3, patch 2; it passed in v1; it passes again in v5"
    )
    assert kept.hints("vp-lifetime", "t") == kept.hints("other", "s") == ()


def test_hint_takes_the_last_word_on_a_version_and_no_quarantine(kept: history.History) -> None:
    kept.record(night(1, said(1, FAIL)))
    kept.record(night(2, said(1, PASS)))
    kept.record(night(3, said(2, FAIL, quarantined="slow")))
    kept.record(night(4, said(3, FAIL, counts=None)))
    assert kept.hints("vp-lifetime", "s") == ()


def test_hint_of_the_sample(kept: history.History) -> None:
    kept.record(sample.REPORT)
    hints = kept.hints("mmio-on-demand", "bar_pages_are_mapped_right")
    assert [(h.variant, h.fails_in, h.patch, h.passes_again_in) for h in hints] == [
        ("plain", 1, 1, 2),
        ("debug", 1, 1, 2),
    ]


NO_HISTORY = {
    "text": b"no database at all, but long enough to have a header of a hundred bytes" * 3,
    "empty": b"",
    "short": b"SQLite format 3\0",
}


@pytest.mark.parametrize("content", NO_HISTORY.values(), ids=NO_HISTORY)
def test_what_is_no_database_is_refused_and_left(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(BadInput, match="no history: not an SQLite database") as e, history.opened(path):
        pass
    assert e.value.where == str(path) and "move the file away" in e.value.hint
    assert path.read_bytes() == content and list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_the_database_of_another_program_is_refused_and_left(path: Path, mode: str) -> None:
    path.parent.mkdir()
    other = sqlite3.connect(path)
    other.execute(f"PRAGMA journal_mode = {mode}")
    other.execute("CREATE TABLE runs (id INTEGER)")
    other.commit()
    other.close()
    before = path.read_bytes()
    with pytest.raises(BadInput, match="the database of another program"), history.opened(path):
        pass
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]


def test_a_damaged_history_is_refused_and_left(path: Path) -> None:
    with history.opened(path) as found:
        found.record(sample.REPORT)
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (size - 4096))
    before = path.read_bytes()
    with pytest.raises(BadInput, match="the history is damaged") as e, history.opened(path) as found:
        found.record(night(1, said(1, PASS)))
    assert e.value.where == str(path)
    assert path.read_bytes() == before


def test_a_history_cut_short_is_refused_and_left(path: Path) -> None:
    with history.opened(path) as found:
        found.record(sample.REPORT)
    before = path.read_bytes()[:-6000]
    path.write_bytes(before)
    with pytest.raises(BadInput, match="damaged"), history.opened(path) as found:
        found.record(night(1, said(1, PASS)))
    assert path.read_bytes() == before


def test_a_history_without_a_table_is_told_as_damaged(path: Path) -> None:
    with history_file.opened(path) as db:
        db.execute("DROP TABLE splats")
    with pytest.raises(BadInput, match="damaged: no such table: splats"), history.opened(path) as found:
        found.splats()


def test_a_history_of_a_newer_lab_is_refused(path: Path) -> None:
    with history_file.opened(path) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(BadInput, match=r"has schema 99, this lab knows \d"), history.opened(path):
        pass


def test_an_older_history_is_brought_up_to_date_and_keeps_what_it_has(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with history.opened(path) as found:
        found.record(sample.REPORT)
        runs = found.runs()
    more = (*history_file.MIGRATIONS, ("ALTER TABLE runs ADD COLUMN mood TEXT NOT NULL DEFAULT 'good'",))
    monkeypatch.setattr(history_file, "MIGRATIONS", more)
    with history_file.opened(path) as db:
        assert db.execute("SELECT mood FROM runs").fetchall() == [("good",)]
        assert db.execute("PRAGMA user_version").fetchone() == (len(more),)
    with history.opened(path) as found:
        assert found.runs() == runs
        assert found.record(sample.REPORT) == 0


def test_a_migration_that_fails_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with history.opened(path) as found:
        found.record(sample.REPORT)
    before = rows(path)
    bad = (*history_file.MIGRATIONS, ("DELETE FROM splats", "NONSENSE"))
    with monkeypatch.context() as patched:
        patched.setattr(history_file, "MIGRATIONS", bad)
        with pytest.raises(BadInput, match="NONSENSE"), history.opened(path):
            pass
    assert rows(path) == before


def test_asking_where_there_is_none_begins_none(path: Path) -> None:
    with pytest.raises(BadInput, match="there is no history here"), history.opened(path, create=False):
        pass
    assert not path.parent.exists()


def test_a_folder_or_a_pipe_is_no_history(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for wrong in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(BadInput, match="not a file"), history.opened(wrong):
            pass


def test_many_writers_lose_nothing_and_double_nothing(path: Path) -> None:
    def record(day: int) -> int:
        with history.opened(path) as found:
            return found.record(night(day, said(day, PASS)))

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(record, [1, 2, 3, 4, 5, 6, 7, 8] * 2)) == 8
    assert {table: len(found) for table, found in rows(path).items()} == {
        "runs": 8,
        "versions": 8,
        "variants": 8,
        "scenarios": 8,
        "timings": 8,
        "splats": 0,
    }
    assert list(path.parent.iterdir()) == [path]


def test_a_second_writer_gives_up_with_the_cause_and_readers_do_not_wait(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with history.opened(path) as found:
        found.record(sample.REPORT)
    monkeypatch.setattr(history_file, "PATIENCE", 0.05)
    with history_file.opened(path) as first, history_file.writing(first):
        first.execute("DELETE FROM splats")
        with history.opened(path) as reader:
            assert len(reader.splats()) == 3
        with (
            pytest.raises(LabUnavailable, match="another process has been writing") as e,
            history.opened(path) as second,
        ):
            second.record(night(1, said(1, PASS)))
        assert e.value.where == str(path)


def test_a_report_with_one_variant_twice_is_refused_as_a_whole(path: Path) -> None:
    double = said(1, PASS)
    double = replace(double, variants=double.variants * 2)
    with (
        pytest.raises(BadInput, match="does not fit the history"),
        history.opened(path) as found,
    ):
        found.record(night(1, said(2, PASS), double))
    assert not any(rows(path).values())


def test_errors_of_the_caller_stay_the_callers(path: Path) -> None:
    with pytest.raises(FileNotFoundError), history.opened(path):
        (path.parent / "nothing").read_text()


def test_a_writer_that_is_killed_leaves_a_whole_history(path: Path) -> None:
    with history.opened(path) as found:
        found.record(sample.REPORT)
    before = rows(path)
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from lab.nightly import history_file\n"
        "with history_file.opened(Path(sys.argv[1])) as db, history_file.writing(db):\n"
        "    db.execute('DELETE FROM scenarios')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = Path(history.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program, path],
        env={**os.environ, "PYTHONPATH": str(root)},
        timeout=30,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert rows(path) == before
