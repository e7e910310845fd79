# SPDX-License-Identifier: GPL-2.0-or-later
"""Which runs of a nightly's output go, and that nothing else does."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from lab.cache import try_lock
from lab.cli.main import main
from lab.model.errors import BadInput
from lab.nightly.old_runs import linked, names_in, sweep, to_remove

DAYS = [f"2026-11-{day:02}T02-30-00" for day in range(1, 7)]


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An output folder with six runs, one series and a site; beside it a cache, so that no other is used."""
    monkeypatch.setenv("HVLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HVLAB_STATE", str(tmp_path / "state"))
    folder = tmp_path / "out"
    for name in DAYS:
        (folder / "runs" / name / "avocado").mkdir(parents=True)
        (folder / "runs" / name / "run.json").write_text("{}")
    (folder / "series" / "do-it" / "v1").mkdir(parents=True)
    (folder / "series" / "do-it" / "v1" / "version.json").write_text("{}")
    (folder / "site" / "assets").mkdir(parents=True)
    (folder / "site" / "index.html").write_text("<p>nothing</p>")
    (folder / "history.sqlite").write_text("")
    return folder


def runs(folder: Path) -> list[str]:
    return sorted(os.listdir(folder / "runs"))


def others(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if "runs" not in p.relative_to(folder).parts)


def test_only_the_newest_runs_stay_and_nothing_else_is_touched(out: Path) -> None:
    before = others(out)
    done = sweep(out, 2)
    assert runs(out) == DAYS[4:]
    assert [r.what for r in done.removed] == [f"runs/{name}" for name in DAYS[:4]]
    assert (done.kept, done.linked, done.busy, done.problems) == (2, (), False, ())
    assert all(r.size > 0 for r in done.removed) and others(out) == before


def test_a_run_that_the_site_leads_to_stays(out: Path) -> None:
    (out / "site" / "index.html").write_text(
        f'<a href="../runs/{DAYS[0]}/avocado/job.log">log</a> <a href="../runs/{DAYS[5]}/">x</a>'
    )
    (out / "site" / "assets" / "data.json").write_text(json.dumps({"run": f"runs/{DAYS[2]}"}))
    done = sweep(out, 2)
    assert runs(out) == [DAYS[0], DAYS[2], *DAYS[4:]]
    assert done.linked == (DAYS[0], DAYS[2]) and done.kept == 4


def test_a_link_in_the_output_keeps_what_it_leads_to(out: Path) -> None:
    (out / "runs" / "latest").symlink_to(DAYS[0])
    (out / "site" / "assets" / "log").symlink_to(out / "runs" / DAYS[1] / "run.json")
    (out / "newest").symlink_to(Path("runs", DAYS[2]))
    assert linked(out) == set(DAYS[:3])
    sweep(out, 0)
    assert runs(out) == [*DAYS[:3], "latest"]


def test_a_dry_run_says_the_same_and_removes_nothing(out: Path) -> None:
    before = sorted(out.rglob("*"))
    said = sweep(out, 3, dry_run=True)
    assert sorted(out.rglob("*")) == before
    assert sweep(out, 3) == said and len(runs(out)) == 3


@pytest.mark.parametrize("dry_run", [True, False])
def test_while_a_nightly_works_there_nothing_goes(out: Path, dry_run: bool) -> None:
    held = try_lock(out / "lock")
    assert held is not None
    assert sweep(out, 0, dry_run=dry_run).busy
    assert main(["gc", "--dry-run", "--out", str(out)]) == 4
    assert runs(out) == DAYS
    os.close(held)
    assert not sweep(out, 0).busy and runs(out) == [] and not (out / "lock").exists()


def test_links_are_not_followed_out_of_the_folder(out: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("x")
    (precious / ".a.json.new.999999999").write_text("x")
    (out / "runs" / "2025-01-01").symlink_to(precious)
    (out / "runs" / DAYS[0] / "link").symlink_to(precious)
    (out / "series" / "link").symlink_to(precious)
    done = sweep(out, 0)
    assert runs(out) == ["2025-01-01"] and done.problems == ()
    assert sorted(os.listdir(precious)) == [".a.json.new.999999999", "file"]
    (out / "runs" / "2025-01-01").unlink()
    (out / "runs").rmdir()
    (out / "runs").symlink_to(precious)
    assert "a link" in sweep(out, 0).problems[0]
    assert sorted(os.listdir(precious)) == [".a.json.new.999999999", "file"]


def test_what_is_no_run_stays_and_what_a_killed_clean_up_left_goes(out: Path) -> None:
    for name in ("notes", ".gone-2026-01-01", "20261107-023000"):
        (out / "runs" / name).mkdir()
    done = sweep(out, 1)
    assert [r.what for r in done.removed][-1] == "runs/.gone-2026-01-01"
    assert runs(out) == ["20261107-023000", "notes"]


def test_half_a_record_goes_when_its_writer_is_gone(out: Path) -> None:
    version = out / "series" / "do-it" / "v1"
    mine, dead, evidence = (
        version / name
        for name in (f".version.json.new.{os.getpid()}", ".version.json.new.999999999", ".profile.999999999")
    )
    page = out / "site" / "assets" / ".x.html.new.999999999"
    for path in (mine, dead, evidence, page):
        path.write_text("{")
    done = sweep(out)
    assert [(r.what, r.why) for r in done.removed] == [
        (name, "half-written, its writer is gone")
        for name in ("series/do-it/v1/.version.json.new.999999999", "site/assets/.x.html.new.999999999")
    ]
    assert mine.exists() and evidence.exists() and not dead.exists() and not page.exists()


def test_a_site_that_cannot_be_read_keeps_every_run(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.nightly.old_runs._MOST", 3)
    done = sweep(out, 0)
    assert runs(out) == DAYS and "too large" in done.problems[0].lower()
    assert main(["gc", "--dry-run", "--out", str(out)]) == 4


@pytest.mark.parametrize(
    "text",
    [
        '<a href="../runs/2026-11-01T02:30:00+00:00/x">',
        '<a href="../runs/2026-11-01T02%3A30%3A00%2B00%3A00">',
        "<a href='../runs/2026-11-01T02&#58;30&#58;00&#43;00&#58;00/'>",
        r'{"log": "..\/runs\/2026-11-01T02:30:00+00:00\/job.log"}',
        "see runs/2026-11-01T02:30:00+00:00.",
    ],
)
def test_a_name_is_seen_however_a_page_writes_it(text: str) -> None:
    assert "2026-11-01T02:30:00+00:00" in names_in(text)


def test_a_name_that_begins_as_another_does_keeps_only_itself() -> None:
    assert to_remove(["20260101", "20260101-2", "20260102"], names_in("runs/20260101-2/x"), 1) == ["20260101"]


def test_what_is_no_output_of_a_nightly_is_refused(tmp_path: Path, out: Path) -> None:
    with pytest.raises(BadInput, match="no such folder"):
        sweep(tmp_path / "nowhere")
    with pytest.raises(BadInput, match="no output of a nightly"):
        sweep(tmp_path)
    with pytest.raises(BadInput, match="number of runs"):
        sweep(out, -1)


def test_the_command_names_each_run_that_goes(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (out / "site" / "index.html").write_text(f"runs/{DAYS[0]}")
    assert main(["gc", "--out", str(out), "--keep-runs", "4"]) == 0
    said = capsys.readouterr().out
    assert f"gone  runs/{DAYS[1]}" in said and f"linked  runs/{DAYS[0]}" in said and "5 runs kept" in said
    assert main(["gc", "--out", str(out), "--keep-runs", "1", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert len(said["outs"][0]["removed"]) == 3 and said["freed"] > 0 and not said["dry_run"]
