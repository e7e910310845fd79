# SPDX-License-Identifier: GPL-2.0-or-later
"""All series of an inbox, version by version; and a version as an mbox again."""

from __future__ import annotations

import base64
import email.utils
import os
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

from lab import whole
from lab.hashing import digest
from lab.model.errors import BadInput
from lab.model.nightly import Inbox, InboxSeries, MailProblem, Repair
from lab.model.series import Patch
from lab.printable import printable
from lab.series import letters as reading
from lab.series import quoted
from lab.series.archives import Gathered, gather
from lab.series.diff import essence
from lab.series.letters import Letter
from lab.series.limits import MAX_INBOX, MAX_PATCHES
from lab.series.mails import RawMail, split_mbox
from lab.series.mbox import separates
from lab.series.patches import Mail, Tag, check, diff_of, headers, in_order, read_mail, series_key
from lab.series.threads import Draft, split, topics

_COPIES = 4
"""Copies of one mail that are tried until one is not damaged."""

_COVER = 100_000
"""Characters of a cover letter that are kept."""

_VIA = re.compile(r"\bvia\b.*<", re.IGNORECASE)

_FROM = b"From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001\n"


_Sound: TypeAlias = "dict[str, tuple[Mail, Patch, str] | BadInput]"


@dataclass(frozen=True, slots=True)
class _Mailbox:
    """Patches and cover letters by id, all copies of each; by id what was recovered from a quote, and who
    quotes it."""

    copies: dict[str, list[Letter]]
    recovered: dict[str, quoted.Recovered]
    quoters: dict[str, str]

    def sound(self) -> _Sound:
        """{id: the patch and its content, or what is wrong with it}."""
        ids = [i for i, copies in self.copies.items() if not copies[0].cover]
        # Each one waits for git twice.
        with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
            return dict(zip(ids, pool.map(_first_sound, (self.copies[i] for i in ids)), strict=True))

    def parts(self) -> list[Letter]:
        return [copies[0] for copies in self.copies.values()]


def read_inbox(text: str) -> Inbox:
    """All versions of all series in a maildir, an mbox (also gzipped), a folder of mails, or a public-inbox
    git repository.

    A mail that is no use is a problem in the result and stops nothing else; replies and whatever else is
    no patch are left out. A patch that is missing and quoted in a reply is taken from there. BadInput when
    ``text`` names no inbox at all.
    """
    found = Gathered()
    box = _sorted_out(gather(text, found), found)
    sound = box.sound()
    drafts = [_draft(group, box, sound, found) for group in split(box.parts())]
    named = topics([draft for draft, _series in drafts])
    series = [replace(made, topic=named[draft][0], linked=named[draft][1]) for draft, made in drafts]
    kept = _one_each(series, found)
    problems = sorted(set(found.problems), key=lambda p: (p.where, p.what))
    return Inbox(tuple(sorted(kept, key=lambda s: (s.topic, s.version))), tuple(problems))


def write_mbox(series: InboxSeries, path: Path) -> None:
    """Write the patches of a version as an mbox that ``lab.series.load`` reads back to the same key; it is
    there whole or not at all. BadInput for a version without patches, or a mail that no mbox can hold."""
    if not series.patches:
        raise BadInput("no patches to write", where=series.id, hint=series.problem)
    raws = [_for_mbox(p.raw) for p in series.patches]
    data = b"".join(_FROM + raw + b"\n" for raw in raws)
    if [m.raw.rstrip(b"\n") for m in split_mbox(data, series.id)] != [r.rstrip(b"\n") for r in raws]:
        raise BadInput("a mail of this series cannot be kept in an mbox", where=series.id)
    whole.write(path, data)


def _for_mbox(raw: bytes) -> bytes:
    """A mail without a line that an mbox takes for the beginning of another mail."""
    raw = raw if raw.endswith(b"\n") else raw + b"\n"
    if not any(separates(line) for line in raw.split(b"\n")):
        return raw
    head, _, body = raw.partition(b"\n\n")
    said = headers(head + b"\n\n")
    coding = str(said["Content-Transfer-Encoding"] or "").strip().lower()
    if said.get_content_maintype() != "text" or coding not in ("", "7bit", "8bit", "binary"):
        return raw
    kept = re.sub(rb"(?im)^content-transfer-encoding:.*\n(?:[ \t].*\n)*", b"", head + b"\n")
    if said["Content-Type"] is None:
        kept += b"MIME-Version: 1.0\nContent-Type: text/plain; charset=UTF-8\n"
    return kept + b"Content-Transfer-Encoding: base64\n\n" + base64.encodebytes(body)


def _sorted_out(mails: Iterable[RawMail], found: Gathered) -> _Mailbox:
    parts: dict[str, list[Letter]] = {}
    replies: dict[str, Letter] = {}
    size = 0
    for mail in mails:
        try:
            letter = reading.read(mail)
        except BadInput as e:
            found.problem(e, mail.where)
            continue
        except Exception as e:  # whatever a stranger's mail does to a parser, it must not stop the others
            found.problem(BadInput(f"cannot be read: {type(e).__name__}"), mail.where)
            continue
        wanted = letter.part
        if letter.tag.patch and not (wanted or letter.tag.reply or letter.tag.rfc or letter.parents):
            what = f"no diff in {letter.tag.subject!r}"
            found.problem(BadInput(what, hint="is it a patch at all?"), mail.where)
        if not wanted and not (letter.tag.reply and letter.tag.patch and quoted.likely(letter.raw)):
            continue
        size += len(letter.raw)
        if size > MAX_INBOX:
            what = f"more than {MAX_INBOX >> 20} MiB of patches: the rest is left out"
            found.problem(BadInput(what, hint="split the inbox"), mail.where)
            break
        if wanted:
            parts.setdefault(letter.id, []).append(letter)
        else:
            replies.setdefault(letter.id, letter)
    for copies in parts.values():
        # Lists put their own address in place of some senders'. All mails of a series must have the same.
        copies.sort(key=lambda m: (bool(_VIA.search(m.author)), m.raw))
    answers = _unmarked_answers(parts)
    ordered = {i: _distinct(parts[i])[:_COPIES] for i in sorted(parts) if i not in answers}
    recovered: dict[str, quoted.Recovered] = {}
    quoters: dict[str, str] = {}
    for letter, said, quoter in _recover(ordered, sorted(replies.values(), key=lambda m: (m.date, m.id))):
        ordered[letter.id] = [letter]
        recovered[letter.id] = said
        quoters[letter.id] = quoter
    return _Mailbox(ordered, recovered, quoters)


def _unmarked_answers(parts: dict[str, list[Letter]]) -> set[str]:
    """Mails with the subject of a patch that they answer, but no diff: answers that lack the "Re:"."""
    first = {i: copies[0] for i, copies in parts.items()}
    return {
        i
        for i, m in first.items()
        if not m.diff
        and any(
            p in first and p != i and _subject(first[p].tag) == _subject(m.tag) and (first[p].diff or m.cover)
            for p in m.parents
        )
    }


def _distinct(copies: list[Letter]) -> list[Letter]:
    return list({m.raw: m for m in copies}.values())


def _subject(tag: Tag) -> tuple[object, ...]:
    return tag.version, tag.number, tag.total, tag.subject.lower()


def _recover(
    parts: dict[str, list[Letter]], replies: list[Letter]
) -> list[tuple[Letter, quoted.Recovered, str]]:
    """Patches that the inbox lacks, out of the reply that quotes each of them best, and who wrote it."""
    known = {_subject(m[0].tag) for m in parts.values()}
    best: dict[tuple[object, ...], tuple[tuple[object, ...], Letter, quoted.Recovered]] = {}
    for reply in replies:
        subject = _subject(reply.tag)
        answered = {_subject(parts[p][0].tag)[:3] for p in reply.parents if p in parts}
        if reply.cover or subject in known or subject[:3] in answered:
            continue
        said = quoted.recover(reading.text_of(reply.raw))
        if said is None:
            continue
        rank = (bool(said.problem), len(said.repairs), reply.date, reply.id)
        if subject not in best or rank < best[subject][0]:
            best[subject] = (rank, reply, said)
    return [(_as_patch(reply, said, parts), said, reply.author) for _rank, reply, said in best.values()]


def _as_patch(reply: Letter, said: quoted.Recovered, parts: dict[str, list[Letter]]) -> Letter:
    """The mail that a reply quotes, as far as it is known."""
    tag = replace(reply.tag, reply=False)
    original = next(iter(reply.parents[said.depth - 1 : said.depth]), "")
    above = reply.parents[said.depth :] if original else ()
    # Mails of one series have one sender, whoever is named as author.
    kin = [parts[p][0] for p in above if p in parts and parts[p][0].tag.version == tag.version]
    author = kin[0].author if kin else said.author or "unknown <unknown@localhost>"
    number = f" {tag.number}/{tag.total}" if tag.numbered else ""
    lines = [
        f"From: {author}",
        f"Subject: [PATCH v{tag.version}{number}] {tag.subject}",
        f"Date: {email.utils.formatdate(reply.date)}",
        *([f"Message-ID: <{original}>"] if original else []),
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=UTF-8",
        "Content-Transfer-Encoding: 8bit",
        "",
        *([said.message] if said.message else []),
        "---",
        "",
        said.diff,
    ]
    raw = "\n".join(lines).encode("utf-8", "surrogateescape")
    letter = reading.read(RawMail(raw, reply.where))
    return replace(letter, tag=tag, parents=above)


def _draft(
    group: tuple[Letter, ...], box: _Mailbox, sound: _Sound, found: Gathered
) -> tuple[Draft, InboxSeries]:
    """One version, its patches checked; its topic is not known yet."""
    covers = [m for m in group if m.cover]
    mails, checked, errors = _checked(group, box, sound, found)
    order: list[Mail] = sorted(mails, key=lambda m: m.tag.number)
    if len(group) > MAX_PATCHES:
        errors.append(f"{len(group)} patches (limit {MAX_PATCHES})")
    elif not errors:
        try:
            cover_mails = [_cover_mail(m) for m in covers]
            order = in_order([*cover_mails, *mails], "series")
        except BadInput as e:
            errors.append(e.what + _in_place_of(group, box))
    if not order and not errors:
        errors.append("there are no patches")
    patches = tuple(checked[m.where, m.message_id][0] for m in order)
    contents = [checked[m.where, m.message_id][1] for m in order]
    first = covers[0] if covers else group[0]
    texts = [reading.text_of(m.raw) for m in (covers[:1] + [m for m in group if not m.cover])]
    change_ids = [reading.change_id(t) for t in texts[:2]]
    base_commits = [reading.base_commit(t) for t in texts]
    title = first.tag.subject or "untitled"
    series = InboxSeries(
        topic="",
        version=first.tag.version,
        title=title,
        author=first.author,
        date=datetime.fromtimestamp(first.date, UTC).isoformat() if first.date else "",
        message_id=printable(f"<{first.id}>") if first.named else "",
        patches=patches,
        key="" if errors else series_key(contents),
        change_id=printable(next(filter(None, change_ids), "")),
        base_commit=next(filter(None, base_commits), ""),
        cover=printable(texts[0][:_COVER]) if covers else "",
        repairs=tuple(_repairs(order, box)),
        problem="; ".join(errors[:4]),
        where=printable(first.where),
    )
    draft = Draft(
        version=series.version,
        title=title,
        address=first.address,
        date=first.date,
        ids=frozenset(m.id for m in group),
        answers=frozenset(first.parents),
        links=frozenset(reading.links(texts[0]).items()),
        change_id=series.change_id,
        files=frozenset(f for p in patches for f in p.files),
        subjects=tuple(m.tag.subject for m in group if not m.cover),
        rfc=first.tag.rfc,
    )
    return draft, series


def _in_place_of(group: tuple[Letter, ...], box: _Mailbox) -> str:
    """What to say of patches without the others that answer an earlier version of theirs."""
    answered = [box.copies[p][0].tag for m in group for p in m.parents if p in box.copies]
    before = [t.version for t in answered if t.numbered and t.version < group[0].tag.version]
    return f"; is the rest meant to stay as in v{max(before)}? the lab does not guess" if before else ""


def _cover_mail(letter: Letter) -> Mail:
    return Mail(letter.raw, letter.where, letter.tag, letter.author, letter.id, False)


def _checked(
    group: tuple[Letter, ...], box: _Mailbox, sound: _Sound, found: Gathered
) -> tuple[list[Mail], dict[tuple[str, str], tuple[Patch, str]], list[str]]:
    """The patches of a version that are sound, each once, and what is wrong with the others."""
    mails: list[Mail] = []
    checked: dict[tuple[str, str], tuple[Patch, str]] = {}
    errors: list[str] = []
    seen: set[tuple[int, str]] = set()
    for letter in [m for m in group if not m.cover][:MAX_PATCHES]:
        number = f" {letter.tag.number}/{letter.tag.total}" if letter.tag.numbered else ""
        said = box.recovered.get(letter.id)
        if said is not None and said.problem:
            errors.append(f"patch{number} is known from a quote only: {printable(said.problem)}")
        result = sound[letter.id]
        if isinstance(result, BadInput):
            if said is None or not said.problem:
                errors.append(f"patch{number} is no use: {result.what}")
                found.problems.append(_mail_problem(result, letter))
            continue
        mail, patch, content = result
        if (letter.tag.number, content) in seen:
            continue
        seen.add((letter.tag.number, content))
        mails.append(mail)
        checked[mail.where, mail.message_id] = patch, content
    return mails, checked, errors


def _first_sound(copies: list[Letter]) -> tuple[Mail, Patch, str] | BadInput:
    """The first copy of a mail that is a sound patch; else what is wrong with the first. Copies that hold
    different patches are no use: which one was meant?"""
    wrong: BadInput | None = None
    sound: tuple[Mail, Patch, str] | None = None
    for copy in copies:
        try:
            mail = read_mail(RawMail(copy.raw, copy.where))
            patch, content = check(mail)
        except BadInput as e:
            wrong = wrong or e
            continue
        if sound is None:
            sound = mail, patch, content
        elif sound[2] != content and essence(diff_of(sound[1])) != essence(diff_of(patch)):
            what = "two mails with one Message-ID hold different patches"
            return BadInput(what, where=copy.where, hint=f"the other one is {sound[0].where}")
    return sound or wrong or BadInput("no such mail")


def _mail_problem(error: BadInput, letter: Letter) -> MailProblem:
    where = printable(error.where or letter.where)
    message_id = printable(f"<{letter.id}>") if letter.named else ""
    return MailProblem(where, printable(error.what), error.hint, message_id)


def _repairs(order: list[Mail], box: _Mailbox) -> Iterable[Repair]:
    for number, mail in enumerate(order, 1):
        id = mail.message_id.strip("<>") or digest("mail", mail.raw)
        if (said := box.recovered.get(id)) is None:
            continue
        # A quote may have been changed, however whole it looks.
        yield Repair(number, "all of it", f"known from a quote by {box.quoters[id]} only")
        for hunk, what in said.repairs:
            yield Repair(number, printable(hunk), what)


def _one_each(series: list[InboxSeries], found: Gathered) -> list[InboxSeries]:
    """One of each version: the first of equal ones, the last of different ones, a whole one if there is."""
    versions: dict[tuple[str, int], list[InboxSeries]] = {}
    for one in series:
        versions.setdefault((one.topic, one.version), []).append(one)
    kept = []
    for same in versions.values():
        same.sort(key=lambda s: (s.date, s.message_id, s.where))
        pool = [s for s in same if not s.problem] or same
        last = pool[-1]
        kept.append(next(s for s in pool if s.key == last.key and s.problem == last.problem))
        for other in same:
            if (other.key, other.problem) != (last.key, last.problem):
                what = f"{other.id} was sent again with other content: the later one is taken"
                if other not in pool:
                    what = f"{other.id} is there whole, and once more not whole: {other.problem}"
                found.problems.append(MailProblem(other.where, what, message_id=other.message_id))
    return kept
