# SPDX-License-Identifier: GPL-2.0-or-later
"""The example inbox: its mails are what ``inbox.toml`` says, and what they claim to be made of."""

from __future__ import annotations

import io
import re
import tomllib
from typing import Any

import pytest

from lab import paths
from lab.model.errors import BadInput
from lab.model.verdict import Verdict
from lab.series.mails import Collected, RawMail, collect
from lab.series.patches import Assembled, assemble, read_mail

SERIES = paths.tests_dir() / "series"
TRUTH: dict[str, Any] = tomllib.loads((SERIES / "inbox.toml").read_text())
VERSIONS = [(s["name"], v) for s in TRUTH["series"] for v in s["versions"]]
EVERY_VERSION = pytest.mark.parametrize(
    "version", [v for _, v in VERSIONS], ids=[f"{name}-v{v['version']}" for name, v in VERSIONS]
)
MESSAGE_ID = re.compile(rb"^Message-ID: (<\S+>)$", re.MULTILINE)
INDEX = re.compile(rb"^diff --git a/(\S+) .*\nindex ([0-9a-f]+)\.\.([0-9a-f]+) 100644$", re.MULTILINE)


def inbox() -> dict[str, RawMail]:
    """The mails by Message-ID."""
    found = {}
    for mail in collect(str(SERIES / "inbox"), None, io.BytesIO()).mails:
        ids = MESSAGE_ID.findall(mail.raw.split(b"\n\n", 1)[0])
        assert len(ids) == 1, mail.where
        found[ids[0].decode()] = mail
    return found


MAILS = inbox()


def assembled(version: dict[str, Any]) -> Assembled:
    ids = [version["cover"]] if "cover" in version else []
    # Backwards: their order is not to come from the file names.
    wanted = [MAILS[i] for i in reversed([*ids, *version["mails"]])]
    return assemble(Collected(tuple(wanted), "inbox"))


def test_every_mail_of_the_maildir_is_accounted_for() -> None:
    known = [i for _, v in VERSIONS for i in [*v["mails"], *([v["cover"]] if "cover" in v else [])]]
    known += [entry["message_id"] for kind in ("quoted", "unusable", "talk") for entry in TRUTH[kind]]
    assert len(known) == len(set(known))
    assert set(known) == set(MAILS)


@EVERY_VERSION
def test_version_is_a_whole_series(version: dict[str, Any]) -> None:
    found = assembled(version)
    assert [p.message_id for p in found.patches] == version["mails"]
    assert {p.author for p in found.patches} == {version["author"]}
    assert (found.title or found.patches[0].subject) == version["title"]
    tags = [read_mail(MAILS[i]).tag for i in version["mails"]]
    assert {tag.version for tag in tags} == {version["version"]}


@EVERY_VERSION
def test_version_says_what_it_belongs_to(version: dict[str, Any]) -> None:
    text = b"".join(
        MAILS[i].raw for i in [*version["mails"], *([version["cover"]] if "cover" in version else [])]
    )
    assert re.findall(rb"^change-id: (\S+)$", text, re.MULTILINE) == [
        i.encode() for i in [version.get("change_id")] if i
    ]
    assert re.findall(rb"^base-commit: (\S+)$", text, re.MULTILINE) == [
        i.encode() for i in [version.get("base_commit")] if i
    ]


@pytest.mark.parametrize("series", TRUTH["series"], ids=[s["name"] for s in TRUTH["series"]])
def test_versions_are_tied_by_one_thing_only(series: dict[str, Any]) -> None:
    first, second = series["versions"]
    heads = [MAILS[v.get("cover", v["mails"][0])].raw.split(b"\n\n", 1)[0] for v in (first, second)]
    replies = first.get("cover", first["mails"][0]).encode() in heads[1]
    same_subject = first["title"] == second["title"]
    change_ids = bool(first.get("change_id")) and first["change_id"] == second.get("change_id")
    assert first["version"] + 1 == second["version"]
    assert {
        "in-reply-to": replies and not change_ids,
        "change-id": change_ids and not replies and not same_subject,
        "subject": same_subject and not replies and not change_ids,
    }[series["linked"]]


@EVERY_VERSION
def test_blobs_of_a_version_follow_each_other(version: dict[str, Any]) -> None:
    """Each patch begins where the one before it ended, and the first on the base of our other series."""
    now: dict[bytes, bytes] = {}
    for patch in assembled(version).patches:
        blobs = INDEX.findall(patch.raw)
        assert [name.decode() for name, _, _ in blobs] == sorted(patch.files)
        for name, old, new in blobs:
            assert old == now.get(name, old), f"{patch.subject}: {name.decode()} is not as it was left"
            assert now.get(name) or base_blob(name).startswith(old)
            now[name] = new


def base_blob(name: bytes) -> bytes:
    """The blob of a file in Linux 7.3.4, from the patches of our own series that begin there."""
    series = SERIES / "mmio-on-demand"
    for path in sorted(series.glob("*.patch")):
        for found, old, _ in INDEX.findall(path.read_bytes()):
            if found == name:
                return bytes(old)
    return KNOWN_BLOBS[name]


KNOWN_BLOBS = {b"drivers/hv/mshv_eventfd.c": b"06aef99c8298d67ea61d4e73e3a04ea451f36b7e"}
"""Files that no other series of ours touches."""


def test_versions_of_a_series_are_told_apart_by_their_content() -> None:
    keys = [assembled(version).key for _, version in VERSIONS]
    assert len(set(keys)) == len(keys)


def test_defects_name_patches_scenarios_and_verdicts_that_exist() -> None:
    scenarios = {
        name
        for path in (paths.tests_dir() / "guest" / "scenarios").glob("test_*.py")
        for name in re.findall(r"^def test_(\w+)\(", path.read_text(), re.MULTILINE)
    }
    for name, version in VERSIONS:
        assert {Verdict(v) for v in version["verdict"].values()} <= {Verdict.PASS, Verdict.FAIL}
        defects = version.get("defects", [])
        assert bool(defects) == (version["version"] == 1), name
        for defect in defects:
            assert 1 <= defect["patch"] <= len(version["mails"])
            assert set(defect["scenarios"]) <= scenarios
            assert bool(defect["scenarios"]) == bool(defect["flavours"])
            assert defect["scenarios"] or defect["checks"], "nothing shows it"
            assert all(version["verdict"][f] == "fail" for f in defect["flavours"])
        assert set(version.get("fixed", ())) <= scenarios
    assert {s for q in TRUTH["quoted"] for s in q["fixed"]} <= scenarios


@pytest.mark.parametrize("entry", TRUTH["unusable"], ids=lambda e: e["what"])
def test_unusable_mail_is_refused_with_its_reason(entry: dict[str, Any]) -> None:
    mail = MAILS[entry["message_id"]]
    with pytest.raises(BadInput) as refused:
        assemble(Collected((mail,), "inbox"))
    assert refused.value.what == entry["what"]
    assert refused.value.where == mail.where


@pytest.mark.parametrize("entry", TRUTH["quoted"], ids=lambda e: e["title"])
def test_quoted_patch_is_damaged_in_three_ways_and_nowhere_else(entry: dict[str, Any]) -> None:
    mail = MAILS[entry["message_id"]]
    assert entry["original"] not in MAILS
    assert f"In-Reply-To: {entry['original']}".encode() in mail.raw
    tag = read_mail(mail).tag
    assert tag.reply and tag.subject.endswith(entry["title"])
    assert entry["author"].encode() in mail.raw
    lines = mail.raw.decode().split("\n")
    start = next(i for i, line in enumerate(lines) if line.startswith(f"> @@ -{entry['hunk']},"))
    assert f"> +++ b/{entry['file']}" in lines[:start]
    index = next(line for line in lines[:start] if line.startswith("> index "))
    assert entry["blob"].startswith(index.split("..")[1].split(" ")[0])
    last = max(i for i, line in enumerate(lines) if line.startswith(">"))
    body = lines[start + 1 : last + 1]
    assert [line for line in body if line.startswith("> ") and line[2] not in " +-"], "no wrapped line"
    assert ">" in body, "no blank line that lost its space"
    assert [line for line in body if line and not line.startswith(">")], "no remark inside the hunk"


@pytest.mark.parametrize("entry", TRUTH["talk"], ids=lambda e: e["message_id"])
def test_review_of_a_patch_that_is_there_has_no_diff_of_its_own(entry: dict[str, Any]) -> None:
    mail = MAILS[entry["message_id"]]
    assert read_mail(mail).tag.reply
    assert not re.search(rb"^(> )*(@@|diff )", mail.raw, re.MULTILINE)
    (above,) = re.findall(rb"^In-Reply-To: (<\S+>)$", mail.raw, re.MULTILINE)
    assert above.decode() in MAILS
