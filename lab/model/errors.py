# SPDX-License-Identifier: GPL-2.0-or-later
"""Errors that reach the user, and the exit codes they end in."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Documented exit codes of every ``hvlab`` verb."""

    PASS = 0
    FAIL = 1
    BAD_INPUT = 2
    INCONCLUSIVE = 3
    LAB_UNAVAILABLE = 4


class LabError(Exception):
    """An error with a place and a way out.

    ``what`` says what failed, ``where`` on what (file and line, command, phase), ``hint`` what
    to do next. ``detail`` is evidence (console tail, compiler output) shown below the message.
    """

    exit_code: ExitCode = ExitCode.LAB_UNAVAILABLE

    def __init__(self, what: str, *, where: str = "", hint: str = "", detail: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint
        self.detail = detail

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        if self.hint:
            text += f"\n  to do: {self.hint}"
        if self.detail:
            text += "\n" + "\n".join(f"  | {line}" for line in self.detail.splitlines())
        return text


class BadInput(LabError):
    """What the user gave cannot be used (unknown key, broken mbox, unknown lab name)."""

    exit_code = ExitCode.BAD_INPUT


class NotObservable(BadInput):
    """This machine cannot show what was asked for: there is no ledger, no SLAT, no host side. Neither a pass
    nor a failure of the kernel."""


class LabUnavailable(LabError):
    """The lab itself could not run (missing tool, full disk, base kernel that does not boot)."""

    exit_code = ExitCode.LAB_UNAVAILABLE


class SeriesDoesNotApply(LabError):
    """A patch of the series under test does not apply to its base: the series fails."""

    exit_code = ExitCode.FAIL


class KernelBuildFailed(LabError):
    """A kernel does not build. For the patched kernel the series fails; for base the lab does.

    ``patch`` names the patch (subject) that touched the failing file last, if any.
    """

    exit_code = ExitCode.FAIL

    def __init__(
        self, what: str, *, where: str = "", hint: str = "", detail: str = "", patch: str = ""
    ) -> None:
        super().__init__(what, where=where, hint=hint, detail=detail)
        self.patch = patch


class GuestDied(LabError):
    """The guest ended or stopped making progress while something waited for it.

    ``kind`` is one of ``qemu-exit``, ``panic``, ``hypervisor-panic``, ``triple-fault``,
    ``tripwire``, ``boot-hang``, ``driver-hang``, ``ssh``, ``child-exit`` (the QEMU of a Linux child);
    ``phase`` the phase it happened in.
    """

    exit_code = ExitCode.FAIL

    def __init__(
        self,
        what: str,
        *,
        kind: str,
        phase: str,
        where: str = "",
        hint: str = "",
        detail: str = "",
    ) -> None:
        super().__init__(what, where=where or phase, hint=hint, detail=detail)
        self.kind = kind
        self.phase = phase
