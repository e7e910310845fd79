# SPDX-License-Identifier: GPL-2.0-or-later
"""The voices for people: they fit, they are clean, they tell the verdict and the evidence."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from lab.model.result import ValidateResult
from lab.report import mail, terminal, view

ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


def test_terminal_table_fits_100_columns_and_has_no_control_characters(result: ValidateResult) -> None:
    text = terminal.table(result, out=Path("out"))
    for line in text.split("\n"):
        assert len(line) <= 100, line
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", text)


def test_terminal_row_of_a_scenario(result: ValidateResult) -> None:
    rows = terminal.table(result).split("\n")
    [row] = [line for line in rows if line.startswith("bar_pages_are_mapped_right ")]
    assert row.split()[:5] == ["bar_pages_are_mapped_right", "FAIL", "pass", "fixed", "C16"]
    assert row.split()[5].lstrip("…") in "patched/evidence/bar_pages_are_mapped_right/"


def test_terminal_shows_verdict_reasons_evidence_and_phases(result: ValidateResult) -> None:
    text = terminal.table(result, out=Path("out"))
    assert "verdict  FAIL (exit code 1)" in text
    assert "unmapped_gpa_reaches_the_vmm [plain]: passes on base, fails on the patched kernel" in text
    assert "  base     page 0 of the BAR leads to SPA page 0x20000000, not to BAR page 0" in text
    assert "… 6 more lines in the report" in text
    assert re.search(r"^build +base +10:10 +15:40 +from the cache$", text, re.M)
    assert re.search(r"^all +16:21$", text, re.M)
    assert "out/report.html" in text
    assert "7.3.4 plain (cached), 6 of 6 detectors fired" in text


def test_colour_changes_nothing_but_the_colour(result: ValidateResult) -> None:
    plain, coloured = terminal.table(result), terminal.table(result, colour=True)
    assert "\x1b[" in coloured and "\x1b" not in plain
    assert ESCAPE.sub("", coloured) == plain


def test_terminal_of_a_series_that_does_not_build(result: ValidateResult) -> None:
    patched = replace(result.runs[1], failed_phase="build", outcomes=(), detectors=())
    text = terminal.table(replace(result, runs=(result.runs[0], patched), scenarios=()))
    assert "patched  7.3.4 plain, ended in phase build" in text
    assert "scenario  " not in text


def test_two_flavours_are_told_apart(result: ValidateResult) -> None:
    other = tuple(replace(run, flavour="debug") for run in result.runs)
    pairs = tuple(replace(pair, flavour="debug") for pair in result.scenarios)
    both = replace(result, runs=result.runs + other, scenarios=result.scenarios + pairs)
    assert "still_broken [debug]" in terminal.table(both)
    assert view.evidence_path(both, pairs[0]) == "patched-debug/evidence/bar_pages_are_mapped_right/"


def test_mail_fits_72_columns(result: ValidateResult) -> None:
    text = mail.text(result)
    for line in text.split("\n"):
        assert len(line) <= 72 or line.strip() in result.reproduce, line
    assert text.endswith("\n") and not text.endswith("\n\n")
    assert all(line == line.rstrip() for line in text.split("\n"))
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", text)


def test_mail_tells_what_was_tested_on_what_and_how_to_repeat_it(result: ValidateResult) -> None:
    text = mail.text(result)
    assert "Series:    mmio-on-demand" in text
    assert "   1. mshv: map MMIO on the first touch" in text
    assert "Base:      Linux 7.3.4 (linux-source-7.3 7.3.4-1~bpo13+1, sid)" in text
    assert "Fixes:     C16, C17" in text
    assert "Verdict:   FAIL" in text
    assert re.search(r"^  bar_pages_are_mapped_right \(C16\) +FAIL +pass +fixed$", text, re.M)
    assert "  base:    maps no MMIO on first touch" in text
    assert "  hvlab validate tests/series/mmio-on-demand --base lock:base.lock" in text


def test_mail_names_detectors_that_stayed_silent(result: ValidateResult) -> None:
    base = result.runs[0]
    silent = (replace(base.detectors[0], fired=False), *base.detectors[1:])
    text = mail.text(replace(result, runs=(replace(base, detectors=silent), result.runs[1])))
    assert "Detectors: base kernel (plain): silent when tripped: warn" in text


def test_clean_takes_out_what_a_terminal_would_obey() -> None:
    assert view.clean("a\x1b[31mb\tc\x07") == "a�[31mb c�"
    assert view.clean("one\r\ntwo\rthree") == "one\ntwo�three"


def test_clips() -> None:
    assert view.clip("abcdef", 4) == "abc…"
    assert view.clip_left("abcdef", 4) == "…def"
    assert view.clip("abc", 3) == view.clip_left("abc", 3) == "abc"
