# SPDX-License-Identifier: GPL-2.0-or-later
"""A whole thread from an archive of mails, fetched by b4."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from pathlib import Path

from lab.model.errors import BadInput, LabUnavailable
from lab.source.command import run, tool_env

_BUDGET = 300.0
_ID = re.compile(r"[^\s<>/\\-][^\s<>/\\]{0,400}@[^\s<>/\\]{1,200}")
_HINT = "check the network; or save the thread as an mbox and give that with --inbox"


def fetch_b4(message_id: str, out: Path) -> Path:
    """Write the thread of ``message_id`` (with or without brackets), older and newer versions included, to
    the mbox ``out``, and return it; it is there whole or not at all.

    BadInput when ``message_id`` is none, LabUnavailable when b4 is missing or cannot fetch it.
    """
    wanted = message_id.strip().removeprefix("<").removesuffix(">")
    if not _ID.fullmatch(wanted):
        raise BadInput("not a message id", where=message_id, hint="give it as in the mail: ID@HOST")
    tool = _tool()
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as temp:
        try:
            done = run(
                [tool, "mbox", "-c", "-o", temp, "-n", "thread.mbox", wanted],
                what="fetching a thread with b4",
                timeout=_BUDGET,
                cwd=Path(temp),
                env=tool_env(),
                check=False,
            )
        except LabUnavailable as e:
            raise LabUnavailable(e.what, where=wanted, hint=_HINT) from e
        made = Path(temp, "thread.mbox")
        if done.code != 0 or not made.is_file() or not made.stat().st_size:
            said = "\n".join((done.err + done.out).strip().splitlines()[-6:])
            raise LabUnavailable("b4 fetched no thread", where=wanted, hint=_HINT, detail=said)
        made.replace(out)
    return out


def _tool() -> str:
    """b4 in the PATH, or beside the Python that runs this."""
    own = Path(sys.executable).with_name("b4")
    found = shutil.which("b4") or (str(own) if own.is_file() else None)
    if found is None:
        raise LabUnavailable(
            "b4 is not installed",
            hint="install the package b4; or save the thread as an mbox and give that with --inbox",
        )
    return found
