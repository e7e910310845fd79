# SPDX-License-Identifier: GPL-2.0-or-later
"""Mails for tests of an inbox."""

from __future__ import annotations

import email.utils
from pathlib import Path

FROM = b"From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001\n"
ANN = "Ann Author <ann@example.org>"
DAY = 1_767_225_600
"""A day in January 2026, in seconds of Unix time."""


def change(name: str, line: str = "b", old: str = "a") -> str:
    """A diff of one line, with its diffstat."""
    return (
        f" {name} | 2 +-\n 1 file changed, 1 insertion(+), 1 deletion(-)\n\n"
        f"diff --git a/{name} b/{name}\nindex 7898192..6178079 100644\n--- a/{name}\n+++ b/{name}\n"
        f"@@ -1 +1 @@\n-{old}\n+{line}\n"
    )


def mail(
    subject: str,
    body: str = "",
    *,
    id: str = "",
    to: str = "",
    author: str = ANN,
    date: int = DAY,
    head: str = "",
) -> bytes:
    """A mail; ``to`` is what it answers."""
    lines = [f"From: {author}", f"Subject: {subject}", f"Date: {email.utils.formatdate(date)}"]
    lines += [f"Message-ID: <{id}>"] if id else []
    lines += [f"In-Reply-To: <{to}>", f"References: <{to}>"] if to else []
    lines += [head] if head else []
    return ("\n".join(lines) + "\n\n" + body).encode("utf-8", "surrogateescape")


def patch(subject: str, name: str = "drivers/hv/a.c", line: str = "b", **more: object) -> bytes:
    """A mail with a one-line patch."""
    body = f"Because.\n\nSigned-off-by: {ANN}\n---\n{change(name, line)}-- \n2.47.0\n"
    return mail(subject, body, **more)  # type: ignore[arg-type]


def series(
    title: str, total: int = 2, version: int = 1, *, id: str, to: str = "", line: str = "b", **more: object
) -> list[bytes]:
    """A cover letter and its patches, in one thread, each patch on a file of its own."""
    tag = f"PATCH v{version}" if version > 1 else "PATCH"
    body = more.pop("body", "Hello.\n")
    date = int(str(more.pop("date", DAY + 86400 * version)))
    mails = [mail(f"[{tag} 0/{total}] {title}", str(body), id=f"{id}.0@x", to=to, date=date, **more)]  # type: ignore[arg-type]
    for n in range(1, total + 1):
        subject = f"[{tag} {n}/{total}] {title}, part {n}"
        mails.append(
            patch(subject, f"drivers/hv/{n}.c", line, id=f"{id}.{n}@x", to=f"{id}.0@x", date=date + n, **more)
        )
    return mails


def mbox(path: Path, *mails: bytes) -> str:
    """Write mails as an mbox."""
    path.write_bytes(b"".join(FROM + m + b"\n\n" for m in mails))
    return str(path)
