# SPDX-License-Identifier: GPL-2.0-or-later
"""From mails to the ordered patches of one version of one series."""

from __future__ import annotations

import email.header
import email.message
import email.parser
import email.policy
import email.utils
import re
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from lab.hashing import digest
from lab.model.errors import BadInput
from lab.model.series import Patch
from lab.printable import printable
from lab.series import diff
from lab.series.limits import MAX_HEADER, MAX_PATCHES
from lab.series.mails import Collected, RawMail
from lab.series.parts import encoded, flat
from lab.source.command import Done, run, tool_env

_TAG = re.compile(r"\s*\[([^\]]*)\]")
_NUMBER = re.compile(r"(?<![\w./])(\d{1,4}) ?(?:/|of) ?(\d{1,4})(?![\w./])")
_VERSION = re.compile(r"(?:^|[\s,]|(?:PATCH|RFC)[-_]?)v(\d{1,6})\b", re.IGNORECASE)
_REPLY = re.compile(r"\s*(?:re|aw|sv|antw|fwd?|wg)\s*:\s*", re.IGNORECASE)
_CUT = re.compile(rb"(?<!\n-- )\n[ +-][^\n]*\Z")
"""A last line of a diff without its line end; git would complete it and take it for whole."""
QUOTED_CR = "--quoted-cr=strip"
"""For git: lines of an encoded mail often end in CR LF, and those of a kernel do not."""

_SENDER = re.compile(r"([^<>]*)<([^<>\s]+@[^<>\s]+)>")
_NO_BRACKETS = str.maketrans("", "", "<>")
_LISTED = 6
_SHOWN = 200
_GIT_BUDGET = 60.0
_UNKNOWN = "unknown <unknown@localhost>"
_EPOCH = "Thu, 1 Jan 1970 00:00:00 +0000"


@dataclass(frozen=True, slots=True)
class Tag:
    """What the ``[PATCH v2 3/5]`` of a subject says. ``number`` and ``total`` are 0 if not given.

    ``patch``: a tag says that this is a patch, or its cover letter; ``resend``: that it was sent before;
    ``rfc``: that it asks for comments. ``versioned``: a tag says the version.
    """

    subject: str
    version: int
    number: int
    total: int
    reply: bool
    numbered: bool
    patch: bool = False
    resend: bool = False
    rfc: bool = False
    versioned: bool = False


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail on its way to becoming a patch. ``raw`` begins with headers that git am accepts."""

    raw: bytes
    where: str
    tag: Tag
    author: str
    message_id: str
    html: bool


@dataclass(frozen=True, slots=True)
class Assembled:
    """The patches in order; ``title`` is the cover letter's subject, or "". ``key``: their content."""

    patches: tuple[Patch, ...]
    title: str
    key: str


def assemble(collected: Collected) -> Assembled:
    """Check and order the patches. Replies and the cover letter are left out; whatever cannot be
    taken as it is (two versions, a missing or damaged patch) is BadInput that says which mail."""
    mails = _without_copies([read_mail(m) for m in collected.mails])
    mails = [m for m in mails if not m.tag.reply]
    covers = [m for m in mails if m.tag.numbered and m.tag.number == 0]
    mails = [m for m in mails if not (m.tag.numbered and m.tag.number == 0)]
    if not mails:
        raise BadInput("no patches: only replies and cover letters", where=collected.name)
    if len(mails) > MAX_PATCHES:
        raise BadInput(f"{len(mails)} patches (limit {MAX_PATCHES})", where=collected.name)
    if not collected.ordered:
        mails = in_order([*covers, *mails], collected.name)
    checked = [check(m) for m in mails]
    patches = tuple(p for p, _content in checked)
    title = covers[0].tag.subject if covers else ""
    return Assembled(patches, title, series_key(content for _p, content in checked))


def series_key(contents: Iterable[str]) -> str:
    """The key of a series whose patches have these contents, in this order (see :func:`check`)."""
    return digest("series", *contents)


def parse_subject(text: str) -> Tag:
    """Read the tags in front of a subject."""
    subject = " ".join(text.split())
    reply = patch = resend = rfc = numbered = versioned = False
    version, number, total, at = 1, 0, 0, 0
    while True:
        if not patch and (found := _REPLY.match(subject, at)):
            reply = True
        elif found := _TAG.match(subject, at):
            tag = found[1].lower()
            if n := _NUMBER.search(tag):
                number, total, numbered = int(n[1]), int(n[2]), True
            if not versioned and (v := _VERSION.search(tag)):
                version, versioned = int(v[1]), True
            patch = patch or any(word in tag for word in ("patch", "rfc", "resend"))
            resend, rfc = resend or "resend" in tag, rfc or "rfc" in tag
        else:
            rest = subject[at:].strip()
            return Tag(rest, version, number, total, reply, numbered, patch, resend, rfc, versioned)
        at = found.end()


def read_mail(mail: RawMail) -> Mail:
    """Headers of a mail; a patch file without mail headers gets the ones that git am needs."""
    raw = mail.raw
    if _CUT.search(raw):
        raise BadInput("the diff's last line is cut off", where=mail.where, hint="fetch the mail again")
    if b"\0" in raw:
        raise BadInput("it holds NUL bytes", where=mail.where, hint="fetch the mail again")
    message = headers(raw)
    for name in ("From", "Subject", "Author", "Description"):
        if len(str(message[name] or "")) > MAX_HEADER:
            raise BadInput(f"its {name} header is longer than {MAX_HEADER} bytes", where=mail.where)
    if message["From"] is None or message["Subject"] is None:
        raw = _dressed(raw, message, mail.where)
        message = headers(raw)
    if any(_CUT.search(part.content) for part in encoded(raw, message)):
        raise BadInput("the diff's last line is cut off", where=mail.where, hint="fetch the mail again")
    raw, html = flat(raw, message)
    return Mail(
        raw=raw,
        where=mail.where,
        tag=parse_subject(decoded(message["Subject"])),
        author=sender(message["From"])[0],
        message_id=str(message["Message-ID"] or "").strip(),
        html=html,
    )


def headers(raw: bytes) -> email.message.Message:
    """The headers of a mail; its body is not read."""
    return email.parser.BytesParser(policy=email.policy.compat32).parsebytes(raw, headersonly=True)


def decoded(value: object) -> str:
    """A header's value on one line, encoded words and stray bytes decoded, fit to be shown."""
    try:
        text = str(email.header.make_header(email.header.decode_header(str(value))))
    except (LookupError, UnicodeError, ValueError):
        text = str(value)
    # Raw bytes of an unknown charset must not end up in a report that is written as UTF-8.
    return printable(" ".join(text.split()).encode("utf-8", "surrogateescape").decode("utf-8", "replace"))


def sender(value: object) -> tuple[str, str]:
    """Who a From header names, for people, and the address in lower case. An encoded name is a name: whatever
    stands in it is no address."""
    text = str(value)
    found = _SENDER.match(text)
    pairs = [(found[1].strip().strip('"'), found[2])] if found else email.utils.getaddresses([text])
    name, address = next(((n, a) for n, a in pairs if a), ("", ""))
    if "@" not in address:
        # Whoever cannot be told by an address is told by all that is there.
        return decoded(text), decoded(text).lower()
    name = decoded(re.sub(r"\\(.)", r"\1", name)).translate(_NO_BRACKETS).strip()
    return (f"{name} <{printable(address)}>" if name else printable(address)), printable(address).lower()


def _dressed(raw: bytes, message: email.message.Message, where: str) -> bytes:
    """A patch as quilt keeps it (description, then diff), as a mail."""
    author = str(message["From"] or message["Author"] or _UNKNOWN)
    subject = str(message["Subject"] or message["Description"] or Path(where.split(":")[0]).stem)
    known = {k.lower() for k in message} & {"from", "author", "subject", "description"}
    body = raw
    if known:
        body = raw.split(b"\n\n", 1)[1] if b"\n\n" in raw else raw
    if "@" not in author:
        author = f"{author} <unknown@localhost>"
    head = f"From: {author}\nDate: {_EPOCH}\nSubject: {' '.join(subject.split())}\n\n"
    return head.encode("utf-8", "surrogateescape") + body


def _without_copies(mails: list[Mail]) -> list[Mail]:
    """A mail that came over two lists is one mail."""
    seen: set[str] = set()
    kept = []
    for mail in mails:
        if mail.message_id and mail.message_id in seen:
            continue
        seen.add(mail.message_id)
        kept.append(mail)
    return kept


def in_order(mails: list[Mail], name: str) -> list[Mail]:
    """The patches by their numbers, without the cover letter. BadInput when they are not one version of
    one whole series."""
    versions = sorted({m.tag.version for m in mails})
    if len(versions) > 1:
        raise BadInput(
            f"versions {', '.join(f'v{v}' for v in versions)} are mixed",
            where=name,
            hint="give the mails of one version only",
        )
    numbered = [m for m in mails if m.tag.numbered]
    patches = [m for m in mails if not (m.tag.numbered and m.tag.number == 0)]
    if not numbered:
        return patches
    plain = [m for m in mails if not m.tag.numbered]
    if plain:
        raise BadInput(f"{plain[0].tag.subject!r} has no number, other patches have", where=plain[0].where)
    totals = sorted({m.tag.total for m in numbered})
    if len(totals) > 1:
        raise BadInput(f"two series are mixed: one of {totals[0]} patches, one of {totals[1]}", where=name)
    have = [m.tag.number for m in patches]
    if beyond := [n for n in have if n > totals[0]]:
        what = f"patch {beyond[0]}/{totals[0]} comes after the last one"
        raise BadInput(what, where=name, hint="is it an afterthought to another series?")
    double = sorted({n for n in have if have.count(n) > 1})
    if double:
        raise BadInput(f"patch {double[0]}/{totals[0]} is there twice", where=name)
    missing = [n for n in range(1, totals[0] + 1) if n not in have]
    if missing:
        listed = ", ".join(f"{n}/{totals[0]}" for n in missing[:_LISTED])
        if len(missing) > _LISTED:
            listed += f" and {len(missing) - _LISTED} more"
        raise BadInput(
            f"patch {listed} is missing",
            where=name,
            hint="fetch the whole thread; a folder may have a `series` file that says what to apply",
        )
    return sorted(patches, key=lambda m: m.tag.number)


def check(mail: Mail) -> tuple[Patch, str]:
    """The patch, and its content (message, author, diff) without what the transport added.

    BadInput for a mail without a diff, a damaged diff, and one that the lab does not take.
    """
    with tempfile.TemporaryDirectory(prefix="hvlab-mail-") as temp:
        folder = Path(temp)
        info, text = _mailinfo(folder, mail.raw, mail.where)
        message = (folder / "msg").read_bytes().decode("utf-8", "surrogateescape")
        if mail.html:
            raise BadInput("it is an HTML mail", where=mail.where, hint="ask for plain text")
        if "\0" in text or "\0" in message:
            raise BadInput("it holds NUL bytes", where=mail.where, hint="fetch the mail again")
        touched = diff.read_headers(text)
        touched = replace(touched, glued=touched.glued or diff.holds_headers(message))
        if not touched.paths and not touched.binary:
            what = f"no diff in {mail.tag.subject!r}"
            raise BadInput(what, where=mail.where, hint="is it a patch at all?")
        diff.refuse(touched, mail.where)
        files = diff.agree(touched, _named(folder, mail), mail.where)
    patch = Patch(mail.tag.subject, mail.author, mail.message_id, mail.raw, files)
    # The date is when it was sent: a patch sent again is the same.
    said = re.sub(r"^Date: .*\n", "", info.out, flags=re.MULTILINE)
    return patch, digest(said, message, diff.essence(text))


def diff_of(patch: Patch) -> str:
    """The diff of a patch as git decodes it out of its mail, with what stands above and below it."""
    with tempfile.TemporaryDirectory(prefix="hvlab-mail-") as temp:
        return _mailinfo(Path(temp), patch.raw, patch.subject)[1]


def _mailinfo(folder: Path, raw: bytes, where: str) -> tuple[Done, str]:
    """What git reads out of a mail; message and diff are left in ``folder`` as ``msg`` and ``diff``."""
    info = _git(["mailinfo", QUOTED_CR, "msg", "diff"], folder, raw)
    if info.code != 0:
        why = printable(next(iter(info.err.strip().splitlines()), "")).removeprefix("error: ")[:_SHOWN]
        hint = "does its charset exist? save it anew" if "convert" in why else "fetch the mail again"
        raise BadInput(f"git cannot read this mail: {why}", where=where, hint=hint)
    return info, (folder / "diff").read_bytes().decode("utf-8", "surrogateescape")


def _named(folder: Path, mail: Mail) -> list[str]:
    """The files that git names for a diff; BadInput when it calls the diff damaged."""
    done = _git(["apply", "--numstat", "-z", "diff"], folder)
    if done.code != 0:
        raise BadInput(
            "the diff is damaged or cut short",
            where=mail.where,
            detail=done.err.strip(),
            hint="a mail program may have wrapped its lines; fetch the original",
        )
    rows = [row.split("\t", 2) for row in done.out.split("\0") if row.count("\t") >= 2]
    if any(row[0] == "-" for row in rows):
        raise BadInput("binary patch", where=mail.where, hint="the lab takes text patches only")
    return [row[2] for row in rows]


def _git(args: list[str], cwd: Path, stdin: bytes | None = None) -> Done:
    # Without the user's git settings: a patch means the same for everybody.
    env = tool_env(
        {
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CEILING_DIRECTORIES": str(cwd.parent),
        }
    )
    return run(
        ["git", *args], what=f"git {args[0]}", timeout=_GIT_BUDGET, cwd=cwd, env=env, stdin=stdin, check=False
    )
