# SPDX-License-Identifier: GPL-2.0-or-later
"""What stands before a kernel message: level, time, caller; and several messages on one line.

Forms (kernel/printk/printk.c, util-linux dmesg, journald)::

    [    1.234567] text                    serial or dmesg, printk.time=1
    [    1.234567][   T12] text            with CONFIG_PRINTK_CALLER: T task, C processor
    [   T12] text                          the same without time
    <4>[    1.234567] text                 dmesg --raw
    kern  :warn  : [    1.234567] text     dmesg -x
    4,812,1234567,-,caller=T12;text        /dev/kmsg, time in microseconds
    Nov 23 10:00:00 host kernel: text      journal
"""

from __future__ import annotations

import re
from typing import NamedTuple

LINE_LIMIT = 1024
"""Characters of a message that are looked at: printk's own limit is 1024 (PRINTKRB_RECORD_MAX)."""

_BRACKETS = re.compile(
    r"(?:[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d [\w.-]{1,64} kernel: )?"
    r"(?:<\d{1,3}>)?"
    r"(?:(?:kern|user|daemon|syslog) {0,4}:[a-z]{1,6} {0,4}: )?"
    r"(?:\[(?: {0,8}(?P<time>\d{1,9}\.\d{1,9})|[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d:]{15,18})\] ?)?"
    r"(?:\[ {0,8}(?P<caller>[TC]\d{1,10})\] ?)?"
)
_KMSG = re.compile(r"\d{1,3},\d{1,20},(?P<us>\d{1,20}),(?P<flags>[^;]{0,80});")
_KMSG_CALLER = re.compile(r"caller=([TC]\d{1,10})")
_INNER = re.compile(r"\[ {0,8}\d{1,7}\.\d{6}\](?=[ \[])")
_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]{0,16}[A-Za-z]|[A-Za-z])")


class LogLine(NamedTuple):
    """One kernel message line.

    ``number`` is the 0-based input line, ``raw`` what stood there, ``text`` the message without its
    prefix, ``time`` in seconds since boot, ``caller`` as ``T12`` or ``C0``, empty when unknown.
    """

    number: int
    raw: str
    text: str
    time: float | None = None
    caller: str = ""


def split(number: int, raw: str) -> list[LogLine]:
    """The messages on input line ``number``; most lines hold one.

    Two writers of one serial line run into each other; a time stamp in the middle starts a message, however
    much stands before it.
    """
    raw = raw.rstrip("\r\n\x00 \t").lstrip("\r\x00")
    if "\x1b" in raw:
        raw = _ESCAPES.sub("", raw)
    kmsg = _KMSG.match(raw)
    if kmsg:
        return _kmsg(number, raw[:LINE_LIMIT], kmsg)
    cuts = [0]
    for inner in _INNER.finditer(raw, 1):
        before = raw[cuts[-1] : inner.start()]
        # "<4>[    1.0] text": the bracket belongs to the level before it.
        if len(before) < LINE_LIMIT and (not before.strip() or _is_lead(before)):
            continue
        cuts.append(inner.start())
    return [
        _bracketed(number, raw[a : min(b, a + LINE_LIMIT)])
        for a, b in zip(cuts, [*cuts[1:], len(raw)], strict=True)
    ]


def _is_lead(text: str) -> bool:
    m = _BRACKETS.match(text)
    return m is not None and m.end() == len(text)


def _bracketed(number: int, raw: str) -> LogLine:
    m = _BRACKETS.match(raw)
    assert m is not None, "every part of the pattern is optional"
    time = float(m["time"]) if m["time"] else None
    return LogLine(number, raw, raw[m.end() :], time, m["caller"] or "")


def _kmsg(number: int, raw: str, m: re.Match[str]) -> list[LogLine]:
    caller = _KMSG_CALLER.search(m["flags"])
    time = int(m["us"]) / 1e6
    # /dev/kmsg escapes the line breaks inside a record.
    texts = raw[m.end() :].split("\\x0a")
    return [LogLine(number, raw, text, time, caller[1] if caller else "") for text in texts]
