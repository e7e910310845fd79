# SPDX-License-Identifier: GPL-2.0-or-later
"""Headers of a reply to a series, and the draft as a file. No text from a mail can add a header."""

from __future__ import annotations

import datetime
import email.header
import email.message
import email.parser
import email.policy
import email.utils
import re
from collections.abc import Iterable
from dataclasses import dataclass
from email.headerregistry import Address

from lab.model.nightly import InboxSeries
from lab.model.series import Patch
from lab.report import night_view, view

SENDER = Address("Your Name", "you", "example.invalid")
"""Stands for whoever sends the reply; nothing can be sent from there."""
MAX_PEOPLE = 200
"""More are no series of this kernel, and most servers take no mail to them."""
_SUBJECT = 400
"""Characters of a subject: more is no subject."""
_LIST = 10_000
"""Characters of a header with addresses."""
_ADDRESS = re.compile(r"([A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64})@([A-Za-z0-9.-]{1,255})")
_MESSAGE_ID = re.compile(
    r"<[A-Za-z0-9!#$%&'*+/=?^_`{|}~.:-]{1,200}@[A-Za-z0-9!#$%&'*+/=?^_`{|}~.:\[\]-]{1,200}>"
)
_NAMED = re.compile(r"([^<>]*?) *<([^<>\s]+)>")
_REPLY = re.compile(r"re:\s*", re.IGNORECASE)
_POLICY = email.policy.SMTP.clone(max_line_length=200)
"""Room for two message ids: folded before the first one they confuse readers."""
_LONG = 990
"""Octets of a line from which on the body has to be encoded to be a mail."""


@dataclass(frozen=True, slots=True)
class Headers:
    """Of a reply. Everything is one line and fit for a header; message ids may be empty."""

    to: tuple[Address, ...]
    cc: tuple[Address, ...]
    subject: str
    in_reply_to: str
    references: tuple[str, ...]
    date: str


def headers(series: InboxSeries, patch: int, date: str) -> Headers:
    """A reply to the cover letter, or to one patch (from 1; 0 for the series).

    To is the author, Cc everybody that the patches went to. ``date`` is ISO 8601.
    """
    mail = series.patches[patch - 1] if 0 < patch <= len(series.patches) else None
    parsed = [_parse(p) for p in series.patches]
    to = _author(series.author)
    asked = [
        str(text) for message in parsed for name in ("To", "Cc", "From") for text in message.get_all(name, [])
    ]
    known = {a.addr_spec.casefold() for a in to}
    cc = tuple(a for a in _people(asked) if a.addr_spec.casefold() not in known)
    first = _message_id(series.message_id)
    own = _message_id(mail.message_id) if mail else ""
    return Headers(
        to=to,
        cc=cc[:MAX_PEOPLE],
        subject=_subject(series, patch, mail, parsed),
        in_reply_to=own or first,
        references=tuple(dict.fromkeys(filter(None, (first, own)))),
        date=_date(date),
    )


def as_text(found: Headers, body: str) -> str:
    """Headers and body as a person reads them, lines ended by LF; ``mutt -H`` takes it as a draft."""
    lines = [f"From: {SENDER}"]
    for name, people in (("To", found.to), ("Cc", found.cc)):
        if people:
            lines.append(f"{name}: " + ",\n    ".join(map(str, people)))
    lines.append(f"Subject: {found.subject}")
    if found.in_reply_to:
        lines.append(f"In-Reply-To: {found.in_reply_to}")
    if found.references:
        lines.append("References: " + "\n    ".join(found.references))
    return "\n".join(lines) + "\n\n" + body


def as_eml(found: Headers, body: str) -> bytes:
    """The draft as RFC 5322 has it, lines ended by CRLF; ``X-Unsent`` lets a mail program open it to edit."""
    message = email.message.EmailMessage(policy=_POLICY)
    message["From"] = SENDER
    if found.to:
        message["To"] = found.to
    if found.cc:
        message["Cc"] = found.cc
    message["Subject"] = found.subject
    message["Date"] = found.date
    if found.in_reply_to:
        message["In-Reply-To"] = found.in_reply_to
    if found.references:
        message["References"] = " ".join(found.references)
    message["X-Unsent"] = "1"
    long = any(len(line.encode()) > _LONG for line in body.splitlines())
    ascii_only = body.isascii() and not long
    message.set_content(body, cte="quoted-printable" if long else "7bit" if ascii_only else "8bit")
    return bytes(message)


def one_line(text: str, limit: int = _SUBJECT) -> str:
    """``text`` fit for a header: one line, no control characters, at most ``limit`` characters."""
    return " ".join(view.clean(text[: 4 * limit]).split())[:limit]


def _parse(patch: Patch) -> email.message.Message:
    return email.parser.BytesParser(policy=email.policy.compat32).parsebytes(patch.raw, headersonly=True)


def _decoded(value: object) -> str:
    try:
        return str(email.header.make_header(email.header.decode_header(str(value))))
    except (LookupError, UnicodeError, ValueError):
        return ""


def _author(text: str) -> tuple[Address, ...]:
    """The one who is named as ``NAME <ADDRESS>``, whatever the name looks like."""
    found = _NAMED.fullmatch(one_line(text))
    return _addresses([(found[1], found[2])]) if found else _people([text])[:1]


def _people(texts: Iterable[str]) -> tuple[Address, ...]:
    """Addresses out of headers, each once; what is no plain address is left out."""
    pairs = email.utils.getaddresses([one_line(text, _LIST) for text in texts])
    # Decoded only now: a comma in an encoded name does not make two people of one.
    return _addresses((_decoded(name), spec) for name, spec in pairs)


def _addresses(pairs: Iterable[tuple[str, str]]) -> tuple[Address, ...]:
    found: dict[str, Address] = {}
    for name, spec in pairs:
        parts = _ADDRESS.fullmatch(spec)
        if parts is None or spec.casefold() in found:
            continue
        try:
            found[spec.casefold()] = Address(one_line(name), parts[1], parts[2])
        except ValueError:
            # Such as two dots in a row.
            continue
    return tuple(found.values())


def _message_id(text: str) -> str:
    return text if _MESSAGE_ID.fullmatch(text) else ""


def _subject(series: InboxSeries, patch: int, mail: Patch | None, parsed: list[email.message.Message]) -> str:
    answered = [n for n, p in enumerate(series.patches) if p.message_id and p.message_id == series.message_id]
    number = patch - 1 if mail else next(iter(answered), -1)
    if number >= 0:
        # Without a cover letter it is the first patch that a reply to the series answers.
        subject = series.patches[number].subject
        text = one_line(_decoded(parsed[number]["Subject"] or "")) or subject
    else:
        version = f" v{series.version}" if series.version > 1 else ""
        count = f" 0/{len(series.patches)}" if len(series.patches) > 1 else ""
        text = f"[PATCH{version}{count}] {series.title}"
    return f"Re: {_REPLY.sub('', one_line(text), count=1)}"


def _date(text: str) -> str:
    return email.utils.format_datetime(
        night_view.moment(text) or datetime.datetime.fromtimestamp(0, datetime.UTC)
    )
