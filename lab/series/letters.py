# SPDX-License-Identifier: GPL-2.0-or-later
"""What a mail says about itself: enough to tell patches from replies, and to thread them."""

from __future__ import annotations

import email.message
import email.utils
import re
from dataclasses import dataclass

from lab.hashing import digest
from lab.model.errors import BadInput
from lab.series.limits import MAX_HEADER
from lab.series.mails import RawMail
from lab.series.parts import parts
from lab.series.patches import Tag, decoded, headers, parse_subject, read_mail, sender

_ID = re.compile(r"<([^<>\s]{1,500})>")
_DIFF = re.compile(rb"^(?:diff --git |--- [^\s-]\S*\n\+\+\+ \S)", re.MULTILINE)
_HIDDEN = re.compile(rb"(?:^|>)diff --git ", re.MULTILINE)
_CHANGE_ID = re.compile(r"^change-id: (?!I[0-9a-f]{40}\b)(\S{1,200})\s*$", re.MULTILINE)
"""b4's own; Gerrit's differs from patch to patch."""

_BASE_COMMIT = re.compile(r"^base-commit: ([0-9a-f]{40}(?:[0-9a-f]{24})?)\s*$", re.MULTILINE)
_LINK = re.compile(r"https?://[^\s<>]{1,200}/([^\s<>/]{1,300}@[^\s<>/]{1,200})")
_OWN = re.compile(
    r"[\W_]*(?:(?:link|to|changes?|since|in|from|at|previous|version|posted|sent|patch|series|rfc)\W+)*"
    r"v(\d{1,6})\W*$",
    re.IGNORECASE,
)
_SAID = 80
"""Characters before a link that may say what it is."""

_LINKED = 200_000
"""Characters of a text in which links are looked for."""

_MAX_REFERENCES = 2000


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail with what its headers say.

    ``id`` is the Message-ID without brackets, or the digest of the mail where it has none (``named``
    False). ``parents`` are the ids that it answers or refers to, the nearest first. ``date`` in seconds
    of Unix time, 0 if unknown. ``diff``: there is a diff in it that is not quoted.
    """

    raw: bytes
    where: str
    tag: Tag
    author: str
    address: str
    id: str
    named: bool
    parents: tuple[str, ...]
    date: int
    diff: bool

    @property
    def cover(self) -> bool:
        """A cover letter."""
        return self.tag.numbered and self.tag.number == 0

    @property
    def part(self) -> bool:
        """A patch or the cover letter of some, and no answer to one."""
        tag = self.tag
        if tag.reply:
            return False
        if self.diff:
            # Patchwork leaves "PATCH" out: [v3,1/2].
            return tag.patch or tag.numbered or tag.versioned or not self.parents
        return tag.numbered and (tag.patch or (tag.versioned and not tag.number))


def read(mail: RawMail) -> Letter:
    """Read a mail's headers. BadInput when it has none that could be a mail's."""
    raw, where = mail.raw, mail.where
    head = headers(raw[: _head_size(raw)])
    diff = bool(_DIFF.search(raw))
    if (head["From"] is None or head["Subject"] is None) and diff:
        raw = read_mail(mail).raw
        head = headers(raw[: _head_size(raw)])
    if head["From"] is None and head["Subject"] is None:
        raise BadInput("not a mail: it has neither From nor Subject", where=where)
    for name in ("From", "Subject"):
        if len(str(head[name] or "")) > MAX_HEADER:
            raise BadInput(f"its {name} header is longer than {MAX_HEADER} bytes", where=where)
    author, address = sender(head["From"] or "")
    message_id = next(iter(_ids(head["Message-ID"])), "")
    answered = _ids(head["In-Reply-To"])
    parents = dict.fromkeys([*answered, *reversed(_ids(head["References"]))])
    return Letter(
        raw=raw,
        where=where,
        tag=parse_subject(decoded(head["Subject"] or "")),
        author=author,
        address=address,
        id=message_id or digest("mail", raw),
        named=bool(message_id),
        parents=tuple(p for p in parents if p != message_id),
        date=_seconds(str(head["Date"] or "")),
        diff=diff or _hidden_diff(raw, head),
    )


def text_of(raw: bytes) -> str:
    """The plain text of a mail, decoded; undecodable bytes are surrogates. "" where there is none."""
    size = _head_size(raw)
    if _plain(headers(raw[:size])):
        return raw[size:].decode("utf-8", "surrogateescape").lstrip("\n")
    return next((p.text for p in parts(raw) if p.kind == "text/plain"), "")


def change_id(text: str) -> str:
    """b4's change-id in the text of a cover letter or first patch, or ""."""
    found = _CHANGE_ID.findall(text)
    return found[-1] if found else ""


def base_commit(text: str) -> str:
    """The commit that git format-patch --base left in a mail's text, or ""."""
    found = _BASE_COMMIT.findall(text)
    return found[-1] if found else ""


def links(text: str) -> dict[str, int]:
    """{message id that a text points to with an archive's address: the version of this series that it is said
    to be, as in "Link to v1: https://...", else 0}."""
    found: dict[str, int] = {}
    text = text[:_LINKED]
    for link in _LINK.finditer(text):
        start = text.rfind("\n", 0, link.start()) + 1
        said = text[start : link.start()][-_SAID:]
        if not said.strip():
            said = text[text.rfind("\n", 0, max(0, start - 1)) + 1 : start][-_SAID:]
        version = _OWN.match(said)
        found[link[1]] = found.get(link[1], 0) or (int(version[1]) if version else 0)
    return found


def _plain(head: email.message.Message) -> bool:
    """Whether a mail's text stands in it as it is."""
    coding = str(head["Content-Transfer-Encoding"] or "").strip().lower()
    return coding in ("", "7bit", "8bit", "binary") and head.get_content_type() == "text/plain"


def _hidden_diff(raw: bytes, head: email.message.Message) -> bool:
    """Whether there is a diff in an encoded mail, an attachment or HTML."""
    return not _plain(head) and any(_HIDDEN.search(p.content) for p in parts(raw))


def _head_size(raw: bytes) -> int:
    end = raw.find(b"\n\n")
    return len(raw) if end < 0 else end + 1


def _ids(value: object) -> list[str]:
    return _ID.findall(str(value or ""))[-_MAX_REFERENCES:]


def _seconds(text: str) -> int:
    try:
        return max(0, int(email.utils.parsedate_to_datetime(text[:MAX_HEADER]).timestamp()))
    except (ValueError, TypeError, OverflowError, IndexError):
        return 0
