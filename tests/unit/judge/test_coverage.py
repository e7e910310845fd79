# SPDX-License-Identifier: GPL-2.0-or-later
"""Lines that no guest ran are told from lines without code, over the counts of many guests."""

import json
from pathlib import Path

import pytest

from lab.judge.coverage import Counts, NotGcov, covered
from lab.model.coverage import Coverage, CoveredFile, ranges

GOLDEN = Path(__file__).parents[2] / "golden" / "coverage"
SOURCE = (GOLDEN / "tiny.c").read_text().split("\n")
ONE, TWO = ((GOLDEN / f"{name}.json").read_text() for name in ("one", "two"))


def line_of(text):
    found = [n for n, line in enumerate(SOURCE, 1) if text in line]
    assert len(found) == 1, (text, found)
    return found[0]


def counts_of(*texts, name="tiny.c"):
    counts = Counts()
    for text in texts:
        counts.add(text, "tiny", {name})
    return counts


def test_a_line_that_no_guest_ran_is_not_run_and_a_comment_is_none():
    file = covered(counts_of(ONE), "tiny.c", SOURCE)
    assert line_of("return 20;") in file.run
    assert {line_of("return 10;"), line_of("return 5;"), line_of("return f();")} <= set(file.not_run)
    assert line_of("#include") not in file.run + file.not_run
    assert len(file.run) + len(file.not_run) + file.without_code == len(SOURCE)
    assert file.functions == ("never",)
    assert file.text[line_of("return 5;")].strip() == "return 5;"


def test_guests_add_up():
    both = covered(counts_of(ONE, TWO), "tiny.c", SOURCE)
    assert {line_of("return 10;"), line_of("return 20;")} <= set(both.run)
    assert line_of("return 5;") in both.not_run


def test_a_branch_that_only_another_guest_took_makes_a_line_whole():
    decision = line_of("if (n > 1)")
    assert decision in covered(counts_of(ONE), "tiny.c", SOURCE).half
    assert decision not in covered(counts_of(ONE, TWO), "tiny.c", SOURCE).half
    assert line_of("if (argc > 3)") in covered(counts_of(ONE, TWO), "tiny.c", SOURCE).half


def test_only_the_lines_asked_for_are_counted():
    lines = [line_of("return 10;"), line_of("return 20;"), line_of("Counted twice")]
    file = covered(counts_of(ONE), "tiny.c", SOURCE, lines)
    assert (file.run, file.not_run, file.without_code) == ((lines[1],), (lines[0],), 1)
    assert file.functions == ()


def test_a_file_is_found_wherever_the_build_had_it():
    moved = ONE.replace('"tiny.c"', '"/src/drivers/hv/tiny.c"')
    assert covered(counts_of(moved, name="drivers/hv/tiny.c"), "drivers/hv/tiny.c", SOURCE).run
    assert not counts_of(moved, name="hv/other/tiny.c").lines


def test_a_file_without_counts_is_unknown_and_not_unrun():
    file = covered(Counts(), "tiny.c", SOURCE, [5, 6])
    assert (file.run, file.not_run, file.without_code) == ((), (), 2)
    assert file.unmeasured


def test_parts_of_a_function_that_the_compiler_split_off_have_its_name():
    split = ONE.replace('"name": "never"', '"name": "never.part.0"')
    assert covered(counts_of(split), "tiny.c", SOURCE).functions == ("never",)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "null",
        '{"format_version": "7", "files": []}',
        '{"format_version": "1", "files": {"a": 1}}',
        '{"format_version": "1", "files": [3]}',
        '{"format_version": "1", "files": [{"file": "tiny.c"}]}',
        '{"format_version": "1", "files": [{"file": "tiny.c", "functions": [], "lines": [{"line_number": -4}]'
        "}]}",
        "[" * 100_000,
    ],
)
def test_what_is_not_gcovs_is_refused(text):
    with pytest.raises(NotGcov):
        counts_of(text)


def test_a_negative_count_is_no_run():
    said = json.loads(ONE)
    for line in said["files"][0]["lines"]:
        line["count"] = -1
    assert not covered(counts_of(json.dumps(said)), "tiny.c", SOURCE).run


def test_ranges_are_written_as_people_do():
    assert ranges([9, 3, 7, 8, 3]) == "3, 7-9"
    assert ranges([]) == ""


def test_totals_are_over_all_files():
    files = (CoveredFile("a", run=(1, 2), not_run=(3,)), CoveredFile("b", not_run=(1,), without_code=4))
    found = Coverage("changed lines", "plain", files, 1, 1)
    assert (found.run, found.total) == (2, 4)
