# SPDX-License-Identifier: GPL-2.0-or-later
"""The parts of a mail: what mail programs make of a patch when they attach it, or send HTML along."""

from __future__ import annotations

import email.message
import email.parser
import email.policy
import re
from collections.abc import Iterator
from dataclasses import dataclass

from lab.series.limits import MAX_HEADER

_DIFF = re.compile(rb"^(?:diff --git |--- [^\s-]\S*\n\+\+\+ \S)", re.MULTILINE)
_TYPE = re.compile(rb"^content-type:[^\n]*(?:\n[ \t][^\n]*)*", re.IGNORECASE | re.MULTILINE)
_MIME = re.compile(rb"^(?:content-[a-z-]+|mime-version):.*\n(?:[ \t].*\n)*", re.IGNORECASE | re.MULTILINE)
_PLAIN = b"MIME-Version: 1.0\nContent-Type: text/plain; charset=UTF-8\nContent-Transfer-Encoding: 8bit\n\n"
_MAX_PARTS = 60


@dataclass(frozen=True, slots=True)
class Part:
    """A part that has no parts itself: its type, and its content with LF line ends."""

    kind: str
    content: bytes
    charset: str
    flowed: bool = False
    glue: str = " "
    """What is left of a blank at which a flowed line was broken."""

    @property
    def diff(self) -> bool:
        """Whether a diff begins in it."""
        return bool(_DIFF.search(self.content))

    @property
    def text(self) -> str:
        """Its characters; undecodable bytes are surrogates."""
        try:
            return self.content.decode(self.charset, "surrogateescape")
        except (LookupError, UnicodeError):
            return self.content.decode("utf-8", "surrogateescape")


def parts(raw: bytes) -> list[Part]:
    """The parts of a mail; none of one that has absurdly many, or a header that takes long to read."""
    types = _TYPE.findall(raw)
    if len(types) > _MAX_PARTS or any(len(t) > MAX_HEADER for t in types):
        return []
    return list(_leaves(email.parser.BytesParser(policy=email.policy.compat32).parsebytes(raw)))


def _leaves(message: email.message.Message) -> Iterator[Part]:
    for part in message.walk():
        content = None if part.is_multipart() else part.get_payload(decode=True)
        if isinstance(content, bytes):
            charset = str(part.get_content_charset() or "utf-8")
            flowed = str(part.get_param("format", "")).lower() == "flowed"
            glue = "" if str(part.get_param("delsp", "")).lower() == "yes" else " "
            yield Part(part.get_content_type(), content.replace(b"\r\n", b"\n"), charset, flowed, glue)


def encoded(raw: bytes, head: email.message.Message) -> list[Part]:
    """The content of a mail whose text has to be decoded, and is not in parts."""
    coding = str(head["Content-Transfer-Encoding"] or "").strip().lower()
    is_text = head.get_content_maintype() == "text"
    return parts(raw) if is_text and coding in ("base64", "quoted-printable") else []


def flat(raw: bytes, head: email.message.Message) -> tuple[bytes, bool]:
    """A mail of several parts as the plain mail that git reads rightly, and whether it is HTML only.

    Git takes all parts for one text: HTML beside the plain text doubles the patch, and one that is attached
    as "application/octet-stream" stays encoded. What git reads rightly is left as it is.
    """
    if head.get_content_type() == "text/html":
        return raw, True
    if head.get_content_maintype() != "multipart":
        return raw, False
    found = parts(raw)
    html = [p for p in found if p.kind == "text/html"]
    plain = [p for p in found if p.kind == "text/plain"]
    wanted: list[Part] = []
    for part in found:
        if part.kind != "text/plain" and (part.kind == "text/html" or not part.diff):
            continue
        if not (part.diff and any(_same_diff(part, p) for p in wanted)):
            wanted.append(part)
    if html and not plain and not any(p.diff for p in wanted):
        return raw, True
    diffs = [p for p in found if p.diff]
    if not html and len(diffs) < 2 and all(p.kind.startswith("text/") for p in diffs):
        return raw, False
    kept = _MIME.sub(b"", raw[: raw.find(b"\n\n") + 1])
    texts = [(_unflowed(p) if p.flowed else p.text).rstrip("\n") + "\n" for p in wanted]
    return kept + _PLAIN + "\n".join(texts).encode("utf-8", "surrogateescape"), False


def _unflowed(part: Part) -> str:
    """The text of a flowed part with the lines as they were written (RFC 3676)."""
    lines: list[str] = []
    open_line = False
    for line in part.text.split("\n"):
        line = line.removeprefix(" ")
        soft = line.endswith(" ") and line != "-- "
        kept = line[:-1] + part.glue if soft else line
        if open_line:
            lines[-1] += kept
        else:
            lines.append(kept)
        open_line = soft
    return "\n".join(lines)


def _same_diff(one: Part, other: Part) -> bool:
    mine, theirs = (_DIFF.split(p.content, maxsplit=1)[1:] for p in (one, other))
    if not mine or not theirs:
        return False
    return _ended(mine[0]) == _ended(theirs[0])


def _ended(diff: bytes) -> bytes:
    return diff.partition(b"\n-- \n")[0].rstrip()
