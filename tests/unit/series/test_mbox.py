# SPDX-License-Identifier: GPL-2.0-or-later
"""Mailboxes as they come: compressed, glued, cut, large, written to take long; and what lies beside mails."""

from __future__ import annotations

import gzip
import os
import sys
import time
from pathlib import Path

import pytest

from lab.model.errors import BadInput
from lab.series import archives, mbox
from lab.series.archives import Gathered, gather
from lab.series.inbox import read_inbox

sys.path.insert(0, str(Path(__file__).parent))
from mailing import DAY, FROM, mail, patch, series
from mailing import mbox as write

TWO = series("hv: Map lazily", 2, id="one")


def said(path: Path) -> tuple[list[tuple[str, int, str]], list[str]]:
    found = read_inbox(str(path))
    return [(s.id, len(s.patches), s.problem) for s in found.series], [p.what for p in found.problems]


@pytest.mark.parametrize(
    "line",
    [
        b"From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001",
        b"From mboxrd@z Thu Jan  1 00:00:00 1970",
        b"From - Thu Jan  1 10:00:00 2026",
        b"From ann@example.org Thu Jan  1 10:00 2026",
        b"From ann@example.org Thu Jan  1 10:00:00 2026 +0100",
    ],
)
def test_what_programs_write_between_mails_is_known(line: bytes) -> None:
    assert mbox.separates(line + b"\n") and not mbox.separates(b">" + line) and not mbox.separates(line[:-4])


@pytest.mark.parametrize("gap", [b"", b"\n", b"\r\n"])
def test_a_lost_empty_line_between_mails_joins_nothing(tmp_path: Path, gap: bytes) -> None:
    (tmp_path / "m").write_bytes(gap.join(FROM + m for m in TWO))
    assert said(tmp_path / "m") == ([("hv-map-lazily/v1", 2, "")], [])


def test_a_separator_in_a_message_with_no_header_below_cuts_nothing(tmp_path: Path) -> None:
    quoted = TWO[1].replace(b"Because.\n", b"See:\n\nFrom me Mon Sep 17 00:00:00 2001\nnothing more\n")
    (tmp_path / "m").write_bytes(b"".join(FROM + m + b"\n" for m in (TWO[0], quoted, TWO[2])))
    assert said(tmp_path / "m") == ([("hv-map-lazily/v1", 2, "")], [])


def test_every_member_of_a_compressed_mailbox_is_read(tmp_path: Path) -> None:
    (tmp_path / "m.gz").write_bytes(b"".join(gzip.compress(FROM + m + b"\n") for m in TWO))
    assert said(tmp_path / "m.gz") == ([("hv-map-lazily/v1", 2, "")], [])


def test_of_a_mailbox_that_is_cut_the_whole_mails_are_taken_and_that_is_said(tmp_path: Path) -> None:
    late = mail("hello", os.urandom(40_000).hex(), id="late@x")
    data = gzip.compress(b"".join(FROM + m + b"\n" for m in [*TWO, late]))
    (tmp_path / "m.gz").write_bytes(data[:-9000])
    what = "the compressed file is cut short: the rest is left out"
    assert said(tmp_path / "m.gz") == ([("hv-map-lazily/v1", 2, "")], [what])


@pytest.mark.parametrize(("begin", "name"), [(b"\xfd7zXZ\0", "xz"), (b"BZh9", "bzip2"), (b"PK\3\4", "zip")])
def test_another_kind_of_compression_is_named(tmp_path: Path, begin: bytes, name: str) -> None:
    (tmp_path / "m").write_bytes(begin + b"x" * 99)
    with pytest.raises(BadInput, match=name):
        read_inbox(str(tmp_path / "m"))


def test_a_mailbox_larger_than_all_that_is_kept_gives_its_newest_mails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "MAX_INBOX", 4000)
    old = [mail("hello", "x" * 900, id=f"{n}@x") for n in range(9)]
    found = Gathered()
    kept = [m.raw for m in gather(write(tmp_path / "m", *old, *TWO), found)]
    assert [TWO[0] in m or TWO[1] in m or TWO[2] in m for m in kept][-3:] == [True] * 3 and len(kept) < 9
    assert [p.what for p in found.problems] == [f"{12 - len(kept)} older mails are left out"]


def test_a_line_that_is_almost_a_separator_takes_no_time(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(FROM + mail("hello", "\nFrom a " + "1:11 " * 20_000 + "\n", id="h@x"))
    begin = time.process_time()
    assert said(tmp_path / "m") == ([], [])
    assert time.process_time() - begin < 4


def test_folders_and_files_beside_the_mails_are_told(tmp_path: Path) -> None:
    for name in ("cur", "new", "tmp", ".Lists.hyperv/cur"):
        (tmp_path / "box" / name).mkdir(parents=True)
    (tmp_path / "box/cur/1:2,S").write_bytes(TWO[1])
    (tmp_path / "f").mkdir()
    for name in ("1.EML", "notes.txt"):
        (tmp_path / "f" / name).write_bytes(patch("[PATCH] hv: one", id="1@x", date=DAY))
    assert said(tmp_path / "box")[1] == ["1 folders in it are not looked at: .Lists.hyperv"]
    assert said(tmp_path / "f")[0] == [("hv-one/v1", 1, "")]
    assert said(tmp_path / "f")[1] == ["1 other files and folders in it are not looked at: notes.txt"]


def test_a_maildir_that_only_has_read_mails_is_one(tmp_path: Path) -> None:
    (tmp_path / "box/cur").mkdir(parents=True)
    (tmp_path / "box/cur/1:2,S").write_bytes(patch("[PATCH] hv: one", id="1@x"))
    assert said(tmp_path / "box") == ([("hv-one/v1", 1, "")], [])
    with pytest.raises(BadInput) as refused:
        read_inbox(str(tmp_path))
    assert "box in it is a maildir" in refused.value.hint


def test_a_path_that_the_system_refuses_is_bad_input() -> None:
    with pytest.raises(BadInput, match="name too long"):
        read_inbox("a" * 5000)


def test_a_file_name_that_is_no_text_can_be_told(tmp_path: Path) -> None:
    (tmp_path / "cur").mkdir()
    (tmp_path / os.fsdecode(b"cur/\xff\x1b[31m")).write_bytes(b"")
    (found,) = read_inbox(str(tmp_path)).problems
    assert found.where.isprintable() and found.where.encode()


@pytest.mark.parametrize("first", ["hello", "Re: [PATCH] hv: other", "[PATCH] hv: other"])
def test_mails_that_nothing_separates_are_told_and_no_diff_is_put_down_to_another(
    tmp_path: Path, first: str
) -> None:
    (tmp_path / "m").write_bytes(mail(first, "Hi.\n\n", id="h@x") + patch("[PATCH] hv: one", id="1@x"))
    series, problems = said(tmp_path / "m")
    assert all(problem for _id, _patches, problem in series)
    assert "there may be several mails in it, but nothing separates them" in problems
