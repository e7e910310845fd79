# SPDX-License-Identifier: GPL-2.0-or-later
"""Which mails are one version and which versions one series, where people did not send them as git does."""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

import pytest

from lab.model.nightly import Inbox
from lab.series.inbox import read_inbox
from lab.series.threads import Draft, topics

sys.path.insert(0, str(Path(__file__).parent))
from mailing import ANN, DAY, mail, mbox, patch, series

BOB = "Bob <bob@example.org>"
LATER = DAY + 9 * 86400
ONE = series("hv: Map lazily", 2, id="one")


def read(tmp_path: Path, *mails: bytes) -> Inbox:
    """The inbox; in another order it must be the same."""
    found = read_inbox(mbox(tmp_path / "m", *mails))
    mixed = list(mails)
    random.Random(7).shuffle(mixed)
    other = read_inbox(mbox(tmp_path / "m", *mixed))
    assert [(s.id, s.key, s.linked) for s in found.series] == [(s.id, s.key, s.linked) for s in other.series]
    return found


def said(found: Inbox) -> list[tuple[str, int, str]]:
    return [(s.id, len(s.patches), s.problem) for s in found.series]


def rfc(mails: list[bytes]) -> list[bytes]:
    return [m.replace(b"Subject: [PATCH", b"Subject: [RFC PATCH", 1) for m in mails]


@pytest.mark.parametrize("to", [("one.0@x", "one.0@x"), ("one.1@x", "one.1@x"), ("one.1@x", "one.2@x")])
def test_a_later_version_without_a_cover_letter_may_answer_the_earlier_one(
    tmp_path: Path, to: tuple[str, str]
) -> None:
    title, name = "hv: Map lazily, part", "drivers/hv"
    later = [
        patch(
            f"[PATCH v2 {n}/2] {title} {n}", f"{name}/{n}.c", "c", id=f"two.{n}@x", to=to[n - 1], date=LATER
        )
        for n in (1, 2)
    ]
    later = [m.replace(b"References: ", b"References: <one.0@x> ") for m in later]
    found = read(tmp_path, *ONE, *later)
    assert said(found) == [("hv-map-lazily/v1", 2, ""), ("hv-map-lazily/v2", 2, "")] and not found.problems


def test_a_version_that_is_sent_again_in_its_own_thread_is_that_version(tmp_path: Path) -> None:
    tag, title = "PATCH RESEND", "hv: Map lazily, part"
    again = [
        patch(f"[{tag} {n}/2] {title} {n}", f"drivers/hv/{n}.c", id=f"a{n}@x", to="one.0@x", date=LATER)
        for n in (1, 2)
    ]
    found = read(tmp_path, *ONE, *again)
    assert said(found) == [("hv-map-lazily/v1", 2, "")] and found.series[0].message_id == "<one.0@x>"


def test_what_a_series_is_based_on_is_no_earlier_version_of_it(tmp_path: Path) -> None:
    base = [
        m.replace(b"drivers/hv", b"drivers/net") for m in series("net: Prepare", 2, id="base", date=LATER)
    ]
    body = "Depends on https://lore.example.org/r/base.0@x\n"
    found = read(tmp_path, *base, *series("hv: Map lazily", 2, 2, id="two", body=body, date=LATER + 9))
    assert [(s.id, s.linked) for s in found.series] == [("hv-map-lazily/v2", ""), ("net-prepare/v1", "")]


@pytest.mark.parametrize("said_as", ["- Link to v1: {}", "[v1] {}", "v1:\n  {}", "Changes since RFC v1: {}"])
def test_a_link_to_an_earlier_version_ties_whatever_the_title(tmp_path: Path, said_as: str) -> None:
    body = said_as.format("https://lore.example.org/r/one.0@x") + "\n"
    later = series("hv: Something else altogether", 2, 2, id="two", body=body, line="c")
    assert [s.id for s in read(tmp_path, *ONE, *later).series] == ["hv-map-lazily/v1", "hv-map-lazily/v2"]


def test_requests_for_comments_are_counted_by_themselves(tmp_path: Path) -> None:
    asked = [*rfc(ONE), *rfc(series("hv: Map lazily", 2, 2, id="r2", line="c"))]
    sent = series("hv: Map lazily", 2, 1, id="p1", line="d", date=LATER)
    before = [(s.id, s.key) for s in read(tmp_path, *asked).series]
    found = read(tmp_path, *asked, *sent)
    assert [s.id for s in found.series] == [
        "hv-map-lazily/v1",
        "rfc-hv-map-lazily/v1",
        "rfc-hv-map-lazily/v2",
    ]
    assert before == [(s.id, s.key) for s in found.series[1:]] and not found.problems


def test_a_request_for_comments_is_the_version_before_the_next_one(tmp_path: Path) -> None:
    found = read(tmp_path, *rfc(ONE), *series("hv: Map lazily", 2, 2, id="two", line="c"))
    assert [s.id for s in found.series] == ["rfc-hv-map-lazily/v1", "rfc-hv-map-lazily/v2"]


def test_one_title_on_different_files_is_two_patches(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        patch("[PATCH] hv: Fix a typo", "drivers/hv/a.c", id="a@x"),
        patch("[PATCH] hv: Fix a typo", "drivers/hv/b.c", id="b@x", date=LATER),
        patch("[PATCH v2] hv: Fix a typo", "drivers/hv/b.c", "c", id="b2@x", date=LATER + 9),
    )
    topics = {s.patches[0].message_id: s.topic for s in found.series}
    assert topics["<a@x>"] != topics["<b@x>"] == topics["<b2@x>"] and not found.problems


def test_an_answer_without_re_breaks_nothing(tmp_path: Path) -> None:
    answers = [
        mail("[PATCH 1/2] hv: Map lazily, part 1", "Tested-by: Ann\n", id="t@x", to="one.1@x"),
        mail("[PATCH 2/2] hv: Map lazily, part 2", "Nak.\n", id="n@x", to="one.2@x", author=BOB),
        mail("[PATCH 0/2] hv: Map lazily", "Applied.\n", id="p@x", to="one.0@x", author=BOB),
    ]
    found = read(tmp_path, *ONE, *answers)
    assert said(found) == [("hv-map-lazily/v1", 2, "")] and not found.problems


def test_copies_of_a_list_that_changes_senders_are_the_same_series(tmp_path: Path) -> None:
    mails = []
    for n, content in enumerate(series("hv: Map lazily", 3, id="one")):
        changed = content.replace(ANN.encode(), b"Ann Author via hyperv <hyperv@lists.example.org>", 1)
        first = b"Received: %c\n" % (b"az"[n % 2])
        mails += [b"Received: k\n" + content, first + changed + b"\n____\nhyperv list\n"]
    found = read(tmp_path, *mails)
    assert said(found) == [("hv-map-lazily/v1", 3, "")] and found.series[0].author == ANN


def test_two_patches_under_one_message_id_are_in_doubt(tmp_path: Path) -> None:
    found = read(tmp_path, patch("[PATCH] hv: x", id="s@x"), patch("[PATCH] hv: x", line="evil", id="s@x"))
    assert [(s.key, "hold different patches" in s.problem) for s in found.series] == [("", True)]


def test_what_is_sent_again_without_some_patches_is_told(tmp_path: Path) -> None:
    again = series("hv: Map lazily", 2, id="again", date=LATER)[:2]
    found = read(tmp_path, *ONE, *again)
    assert said(found) == [("hv-map-lazily/v1", 2, "")]
    assert ["2/2 is missing" in p.what for p in found.problems] == [True]


def test_a_patch_without_a_diff_is_told(tmp_path: Path) -> None:
    found = read(tmp_path, mail("[PATCH] hv: forgotten", "Here.\n", id="f@x"))
    assert [p.what for p in found.problems] == ["no diff in 'hv: forgotten'"] and not found.series


def test_mails_from_patchwork_are_the_version_that_they_say(tmp_path: Path) -> None:
    mails = [m.replace(b"[PATCH v3 ", b"[v3,") for m in series("hv: Map lazily", 2, 3, id="w")][1:]
    assert said(read(tmp_path, *mails)) == [("hv-map-lazily-part-1/v3", 2, "")]


def test_many_series_of_one_author_take_no_time(tmp_path: Path) -> None:
    files, none = frozenset(["a.c"]), frozenset[str]()
    drafts = [
        Draft(
            1 + n % 2, f"hv: Fix number {n}", "a@x", n, frozenset([f"{n}"]), none, frozenset(), "", files, ()
        )
        for n in range(4000)
    ]
    begin = time.process_time()
    assert len(topics(drafts)) == 4000
    assert time.process_time() - begin < 20


@pytest.mark.parametrize("head", ["", "change-id: 20260101-lazily-0123456789ab\n"])
def test_nobody_takes_the_place_of_the_authors_version(tmp_path: Path, head: str) -> None:
    one = series("hv: Map lazily", 2, id="one", body=head)
    two = series("hv: Map lazily", 2, 2, id="two", to="one.0@x", line="c", body=head)
    eve = series("hv: Map lazily", 2, 2, id="eve", to="one.0@x", line="e", author=BOB, date=LATER, body=head)
    found = read(tmp_path, *one, *two, *eve)
    topics = {s.message_id: (s.topic, s.author) for s in found.series}
    assert topics["<one.0@x>"] == topics["<two.0@x>"] and topics["<eve.0@x>"][0] != topics["<one.0@x>"][0]
    assert not found.problems


def test_a_series_that_somebody_takes_over_stays_one(tmp_path: Path) -> None:
    more = series("hv: Map lazily", 2, 2, id="bob", to="one.0@x", line="e", author=BOB, date=LATER)
    assert [s.id for s in read(tmp_path, *ONE, *more).series] == ["hv-map-lazily/v1", "hv-map-lazily/v2"]


def test_a_patch_sent_anew_in_its_thread_is_no_version_and_says_what_it_may_be(tmp_path: Path) -> None:
    one = patch(
        "[PATCH v2 2/2] hv: Map lazily, part 2", "drivers/hv/2.c", "c", id="r@x", to="one.2@x", date=LATER
    )
    found = read(tmp_path, *ONE, one)
    assert [(s.id, bool(s.key)) for s in found.series] == [
        ("hv-map-lazily/v1", True),
        ("hv-map-lazily/v2", False),
    ]
    assert found.series[1].problem.startswith("patch 1/2 is missing; is the rest meant to stay as in v1?")
