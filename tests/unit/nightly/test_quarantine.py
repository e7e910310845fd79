# SPDX-License-Identifier: GPL-2.0-or-later
"""What is in quarantine, and what is refused in the file that says so."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from lab.model.errors import BadInput
from lab.nightly import quarantine

GOOD = """
# known
[[quarantine]]
scenario = "guest_dies[one]"
reason = "hangs"
expires = 2026-12-01

[[quarantine]]
scenario = "two_vps"
variant = "debug"
reason = "races"
expires = 2026-11-01
"""
LAST = datetime.date(2026, 12, 1)


def write(folder: Path, text: str) -> Path:
    path = folder / "q.toml"
    path.write_text(text)
    return path


def test_an_entry_counts_on_its_last_day_and_is_told_when_it_ended(tmp_path: Path) -> None:
    entries = quarantine.load(write(tmp_path, GOOD))
    counting, told = quarantine.in_force(entries, LAST)
    assert [e.scenario for e in counting] == ["guest_dies[one]"]
    assert len(told) == 1 and "two_vps" in told[0] and "2026-11-01" in told[0] and "q.toml:8" in told[0]
    assert quarantine.in_force(entries, LAST + datetime.timedelta(days=1))[0] == ()


@pytest.mark.parametrize(
    ("scenario", "variant", "covered"),
    [
        ("guest_dies[one]", "plain", True),
        ("guest_dies[two]", "plain", False),
        ("guest_dies", "plain", False),
        ("two_vps", "debug", True),
        ("two_vps[3]", "debug", True),
        ("two_vps", "plain", False),
    ],
)
def test_an_entry_covers_its_id_or_all_parameters_of_its_name(
    tmp_path: Path, scenario: str, variant: str, covered: bool
) -> None:
    entries = quarantine.load(write(tmp_path, GOOD))
    assert (quarantine.find(entries, scenario, variant) is not None) is covered


@pytest.mark.parametrize(
    ("line", "said", "begins"),
    [
        ("resaon = 'x'", "unknown key 'resaon'", "resaon"),
        ("expires = 2026-01-01", "is missing", "[[quarantine]]"),
        ("scenario = 'x'\nreason = ' '\nexpires = 2026-01-01", "reason must be a text", "reason"),
        ("scenario = 7\nreason = 'y'\nexpires = 2026-01-01", "scenario must be a text", "scenario"),
        ("scenario = 'x'\nreason = 'y'\nexpires = '2026-01-01'", "expires must be a date", "expires"),
        ("scenario = 'x'\nreason = 'y'\nexpires = 2026-01-01T00:00:00", "expires must be a date", "expires"),
    ],
)
def test_what_is_wrong_is_refused_with_its_line(tmp_path: Path, line: str, said: str, begins: str) -> None:
    first = GOOD.partition('[[quarantine]]\nscenario = "two_vps"')[0] + "\n[[quarantine]]\n\n"
    path = write(tmp_path, first + line + "\n")
    with pytest.raises(BadInput, match=said) as e:
        quarantine.load(path)
    file, _, number = e.value.where.rpartition(":")
    assert file == str(path)
    lines = path.read_text().splitlines()
    assert lines[int(number) - 1].startswith(begins)
    assert int(number) > len(first.splitlines()) - 2, "in the table that is wrong, not in the one before"


@pytest.mark.parametrize(
    "text", ["[[quarantined]]\n", "quarantine = 3\n", "[quarantine]\nx = 1\n", "=", "\xff"]
)
def test_anything_else_is_no_quarantine_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "q.toml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(BadInput) as e:
        quarantine.load(path)
    assert e.value.where.startswith(str(path))
    with pytest.raises(BadInput, match="no such"):
        quarantine.load(tmp_path / "absent.toml")


def test_an_empty_file_is_an_empty_quarantine(tmp_path: Path) -> None:
    assert quarantine.load(write(tmp_path, "# nothing\n")) == ()
