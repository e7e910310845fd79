# SPDX-License-Identifier: GPL-2.0-or-later
"""Drafts of replies: what they say, and that no mail can write a header or a tag of its own.

Golden drafts lie in tests/golden/replies. After a change that is right, rewrite them and read the diff::

    PYTHONPATH=tests/unit/nightly python tests/unit/nightly/test_reply.py --update
"""

from __future__ import annotations

import email
import email.policy
import re
import sys
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path

import pages
import pytest
import sample
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.model.errors import LabUnavailable
from lab.model.nightly import CheckResult, Repair, VersionReport
from lab.model.series import Patch
from lab.model.verdict import Verdict
from lab.report import reply_mail
from lab.report.reply import reply, write_reply

FOLDER = Path(__file__).resolve().parents[2] / "golden" / "replies"
HEADERS = {
    "From", "To", "Cc", "Subject", "Date", "In-Reply-To", "References", "X-Unsent", "MIME-Version",
    "Content-Type", "Content-Transfer-Encoding",
}  # fmt: skip
VERSIONS = {v.series.id: v for v in sample.VERSIONS}
EVIL = pages.poison(sample.MMIO_V2)


def golden_name(version: VersionReport) -> str:
    return version.series.id.replace("/", "-") + ".txt"


def parsed(data: bytes) -> EmailMessage:
    message = email.message_from_bytes(data, policy=email.policy.SMTP)
    assert isinstance(message, EmailMessage)
    assert not message.defects
    return message


def body_of(text: str) -> str:
    return text.split("\n\n", 1)[1]


@pytest.mark.parametrize("version", sample.VERSIONS, ids=VERSIONS)
def test_draft_is_as_its_golden_file(version: VersionReport) -> None:
    assert reply(version, sample.REPORT.lab).text == (FOLDER / golden_name(version)).read_text()


def test_every_golden_draft_has_a_version() -> None:
    assert {p.name for p in FOLDER.iterdir()} == {golden_name(v) for v in sample.VERSIONS}


@pytest.mark.parametrize("version", [*sample.VERSIONS, EVIL], ids=[*VERSIONS, "evil"])
def test_lines_are_no_longer_than_72_columns_but_for_commands(version: VersionReport) -> None:
    body = body_of(reply(version).text)
    assert [x for x in body.splitlines() if len(x) > 72 and not x.startswith("  hvlab ")] == []


@pytest.mark.parametrize("version", sample.VERSIONS, ids=VERSIONS)
def test_text_and_mail_say_the_same(version: VersionReport) -> None:
    draft = reply(version, "1")
    message = parsed(draft.eml)
    assert message.get_content().replace("\r\n", "\n") == body_of(draft.text)
    assert f"Subject: {message['Subject']}\n" in draft.text
    assert draft.eml.count(b"\n") == draft.eml.count(b"\r\n")
    assert {*message.keys()} <= HEADERS


def test_a_reply_goes_to_the_patch_that_everything_is_put_down_to() -> None:
    message = parsed(reply(sample.MMIO_V2).eml)
    assert message["Subject"] == "Re: [PATCH v2 3/3] mshv: Let the VMM ask for it"
    assert message["In-Reply-To"] == "<mmio-on-demand-v2-3@example.org>"
    assert message["References"] == "<mmio-on-demand-v2-0@example.org> <mmio-on-demand-v2-3@example.org>"
    assert message["To"] == "Ada Root <ada@example.org>"


def test_a_reply_goes_to_the_cover_letter_when_two_patches_fail() -> None:
    message = parsed(reply(sample.MMIO_V1).eml)
    assert message["Subject"] == "Re: [PATCH 0/2] mshv: MMIO on demand"
    assert message["In-Reply-To"] == message["References"] == "<mmio-on-demand-v1-0@example.org>"


def with_raw(raw: str) -> VersionReport:
    old = sample.VP_V2.series.patches[0]
    patch = Patch(old.subject, old.author, old.message_id, raw.encode(), old.files)
    return replace(sample.VP_V2, series=replace(sample.VP_V2.series, patches=(patch,)))


def test_everybody_whom_the_patches_went_to_gets_it_once() -> None:
    raw = (
        "From: Ada Root <ada@example.org>\nTo: list@example.org, =?utf-8?q?J=C3=BCrgen?= <j@example.org>\n"
        'Cc: LIST@example.org, Ada Root <ada@example.org>,\n "O\'Hara, K." <k@example.org>, not an address\n'
        "Subject: [PATCH] x\n\nbody\n"
    )
    draft = reply(with_raw(raw))
    message = parsed(draft.eml)
    assert [a.addr_spec for a in message["Cc"].addresses] == [
        "list@example.org",
        "j@example.org",
        "k@example.org",
    ]
    assert [a.display_name for a in message["Cc"].addresses] == ["", "Jürgen", "O'Hara, K."]
    assert "Jürgen <j@example.org>" in draft.text


@pytest.mark.parametrize(
    "author", ["Author, Ann <ann@example.org>", "x@example.com, Ann <ann@example.org>", "ann@example.org"]
)
def test_it_goes_to_the_author_whatever_the_name_looks_like(author: str) -> None:
    old = sample.VP_V2.series
    message = parsed(reply(replace(sample.VP_V2, series=replace(old, author=author))).eml)
    assert [a.addr_spec for a in message["To"].addresses] == ["ann@example.org"]


def test_a_name_that_is_encoded_adds_nobody() -> None:
    raw = "From: a@b.c\nCc: =?utf-8?q?Doe=2C_John=2C_eve=40example=2Ecom=2C_X?= <john@example.org>\n\n"
    message = parsed(reply(with_raw(raw)).eml)
    named = [(a.display_name, a.addr_spec) for a in message["Cc"].addresses]
    assert named == [("Doe, John, eve@example.com, X", "john@example.org"), ("", "a@b.c")]


def test_without_a_cover_letter_the_subject_is_that_of_the_mail_that_is_answered() -> None:
    old = sample.VP_V2.series
    first = replace(
        old.patches[0], message_id=old.message_id, raw=b"From: a@b.c\nSubject: [RFC PATCH v2 1/2] x: y\n\n"
    )
    series = replace(old, patches=(first, *old.patches[1:], replace(first, message_id="<z@example.org>")))
    message = parsed(reply(replace(sample.VP_V2, series=series, checks=(), variants=())).eml)
    assert message["In-Reply-To"] == old.message_id and message["Subject"] == "Re: [RFC PATCH v2 1/2] x: y"


def test_a_mail_cannot_write_headers() -> None:
    for text in (
        EVIL,
        with_raw("From: a@b.c\nCc: =?utf-8?q?x=0D=0ABcc:_evil=40example.com?= <v@example.org>\n\n"),
    ):
        draft = reply(text)
        message = parsed(draft.eml)
        assert {*message.keys()} <= HEADERS
        head = draft.text.split("\n\n", 1)[0]
        names = {line.partition(":")[0] for line in head.splitlines() if not line.startswith(" ")}
        assert names <= HEADERS
        assert not [c for c in pages.FORBIDDEN if c in draft.text or c in str(message["Subject"])]
        assert "evil@example.com" not in [a.addr_spec for name in ("To", "Cc") if message[name]
                                          for a in message[name].addresses]  # fmt: skip


@pytest.mark.parametrize(
    "text", ["9999-12-31T23:59:59-23:59", "2026-01-01T00:00:00+00:00:30", "x", "0001-01-01"]
)
def test_a_date_is_one_that_a_mail_may_have(text: str) -> None:
    message = parsed(reply(replace(sample.VP_V2, finished=text)).eml)
    assert message["Date"].datetime is not None


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=40), st.binary(max_size=80))
def test_whatever_a_mail_says_the_draft_is_a_mail(author: str, title: str, mid: str, raw: bytes) -> None:
    old = sample.VP_V2.series
    patch = replace(old.patches[0], raw=raw, subject=title, message_id=mid)
    series = replace(old, author=author, title=title, message_id=mid, patches=(patch,), date=mid)
    draft = reply(replace(sample.VP_V2, series=series, finished=mid))
    message = parsed(draft.eml)
    assert {*message.keys()} <= HEADERS
    assert message["Subject"].startswith("Re: ")
    assert message.get_content().replace("\r\n", "\n") == body_of(draft.text)


@pytest.mark.parametrize("bad", ["", "no brackets@x", "<a b@x>", "<a@x>\nBcc: e@x", "<a@x> <b@x>", "<@x>"])
def test_a_message_id_that_is_none_is_left_out(bad: str) -> None:
    version = replace(sample.VP_V2, series=replace(sample.VP_V2.series, message_id=bad))
    message = parsed(reply(version).eml)
    assert message["In-Reply-To"] is None and message["References"] is None


def tags_in(text: str) -> list[str]:
    """What tools that collect tags take for one."""
    return re.findall(r"^\s*([\w-]+-by): ", text, re.MULTILINE | re.IGNORECASE)


def test_a_tag_is_a_draft_and_only_a_pass_offers_tested_by() -> None:
    for version in sample.VERSIONS:
        text = reply(version).text
        assert tags_in(text) == []
        assert ("[draft] Tested-by: " in text) == (version.verdict is Verdict.PASS)
        assert ("[draft] Reported-by: " in text) == (version.verdict is Verdict.FAIL)
        assert text.count("[draft] ") - text.count("without [draft] ") <= 1


def test_nothing_from_outside_becomes_a_tag() -> None:
    for lead in range(60):
        subject = "x" * lead + " Reviewed-by: Evil <evil@example.com>"
        patches = tuple(replace(p, subject=subject) for p in sample.MMIO_V2.series.patches)
        version = replace(
            sample.MMIO_V2, series=replace(sample.MMIO_V2.series, patches=patches, title=subject)
        )
        assert tags_in(body_of(reply(version).text)) == []


def test_it_says_what_was_not_seen_and_on_what_it_ran() -> None:
    repaired = replace(sample.MMIO_V2.series, repairs=(Repair(1, "a.c:3", "joined"),))
    text = " ".join(reply(replace(sample.MMIO_V2, series=repaired)).text.split())
    for wanted in (
        "It is not Microsoft's own", "mshv-root: root partition of a stand-in hypervisor under QEMU",
        "kvm-root: the same payload on KVM", "patch 1: arm64 not checked: no compiler for arm64",
        "5 of 71 changed lines did not run", "no result: the budget of 1800 s ran out",
        "hunks were recovered from a quoted reply", "debug, plain+hv_nofull_mmio: coverage",
        "not run: guest_sees_an_iommu",
    ):  # fmt: skip
        assert wanted in text, wanted


def test_one_finding_is_told_fully_and_the_others_in_a_table() -> None:
    text = reply(sample.MMIO_V1).text
    assert text.count("It first shows with patch") == 1
    assert re.search(r"^  region_removed_leaves_no_mapp… plain +still-failing +2$", text, re.MULTILINE)
    assert re.search(r"^  bar_pages_are_mapped_right +debug +regressed +1$", text, re.MULTILINE)


def test_much_is_trimmed() -> None:
    checks = tuple(
        CheckResult("W=1", 1, Verdict.FAIL, tuple("x" * 500 for _ in range(99))) for _ in range(99)
    )
    scenarios = tuple(replace(s, id=f"s{i}", evidence=("y" * 900,) * 999)
                      for i in range(99) for s in sample.MMIO_V2.variants[1].scenarios[1:])  # fmt: skip
    result = replace(sample.MMIO_V2.variants[1], scenarios=scenarios, reproduce=("hvlab " + "z" * 2000,))
    draft = reply(replace(sample.MMIO_V2, checks=checks, variants=(result,)))
    assert draft.text.count("\n") < 400
    assert "(79 more)" in draft.text
    message = parsed(draft.eml)
    assert max(map(len, draft.eml.split(b"\r\n"))) <= 998, "what a mail's line may hold"
    assert "hvlab " + "z" * 2000 in message.get_content(), "a command stays whole"


def test_files_are_written_whole(tmp_path: Path) -> None:
    written = write_reply(sample.VP_V2, tmp_path / "sub", "1")
    assert sorted(p.name for p in (tmp_path / "sub").iterdir()) == ["reply.eml", "reply.txt"]
    draft = reply(sample.VP_V2, "1")
    assert [p.read_bytes() for p in written] == [draft.text.encode(), draft.eml]
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(LabUnavailable, match="cannot write the reply"):
        write_reply(sample.VP_V2, tmp_path / "file" / "x")


def test_the_sender_cannot_be_reached() -> None:
    assert reply_mail.SENDER.domain.endswith(".invalid")


if __name__ == "__main__":
    if sys.argv[1:] != ["--update"]:
        sys.exit(f"usage: {sys.argv[0]} --update")
    for each in sample.VERSIONS:
        (FOLDER / golden_name(each)).write_text(reply(each, sample.REPORT.lab).text)
