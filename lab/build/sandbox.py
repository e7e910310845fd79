# SPDX-License-Identifier: GPL-2.0-or-later
"""A place to run code from strangers: no network, no home, nothing writable but what is handed in.

Made with bubblewrap, which needs user namespaces or root. Paths inside are chosen by the caller, so
every build sees its source and its objects at the same places wherever they really are.
"""

from __future__ import annotations

import functools
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lab.model.errors import LabUnavailable

NOBODY = 65534
"""User and group id inside."""

_PROBE_BUDGET = 10.0
_ETC = ("alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d")
_TOP = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_INIT = ("sh", "-c", '"$@"; exit $?', "init")
"""First process inside. bubblewrap's own leaves without waiting for what it started, and the CPU
time of the whole build would be missing from the account of its caller."""

BASE_ENV = {
    "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
    "HOME": "/tmp",
    "TMPDIR": "/tmp",
    "LC_ALL": "C",
}


@dataclass(frozen=True, slots=True)
class Sandbox:
    """``bubblewrap``, or ``none``: the user's explicit ``--no-sandbox``."""

    kind: Literal["bubblewrap", "none"]

    def argv(
        self,
        cmd: Sequence[str],
        *,
        ro: Mapping[Path, str],
        rw: Mapping[Path, str],
        cwd: str,
        env: Mapping[str, str],
    ) -> list[str]:
        """Command line that runs ``cmd`` inside.

        ``ro`` and ``rw`` map host paths to places inside, mounted in order, ``ro`` first: a later
        one may lie on top of an earlier one. ``env`` is added to BASE_ENV; nothing else of the
        caller's environment gets in. The whole sandbox dies with the calling thread.

        Kind ``none`` cannot move paths: ValueError unless every path maps to itself.
        """
        settings = {**BASE_ENV, **env}
        if self.kind == "none":
            moved = [p for p, inside in [*ro.items(), *rw.items()] if str(p) != inside]
            if moved:
                raise ValueError(f"without a sandbox paths cannot move: {moved[0]}")
            words = [f"{k}={v}" for k, v in settings.items()]
            return ["env", "-i", "-C", cwd, *words, *cmd]
        argv = ["bwrap", "--unshare-all", "--unshare-user", *_no_more_namespaces()]
        argv += ["--die-with-parent", "--new-session"]
        argv += ["--uid", str(NOBODY), "--gid", str(NOBODY), "--hostname", "hvlab", "--cap-drop", "ALL"]
        argv += ["--ro-bind", "/usr", "/usr"]
        for name in _TOP:
            top = Path("/", name)
            if top.is_symlink():
                argv += ["--symlink", str(top.readlink()), str(top)]
            elif top.is_dir():
                argv += ["--ro-bind", str(top), str(top)]
        for name in _ETC:
            argv += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
        # Read-only: if the lab runs as root, what runs inside is root's as far as the owner of a file
        # counts, and /proc/sys/kernel/core_pattern would run any program on the host.
        argv += ["--proc", "/proc", "--remount-ro", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
        for path, inside in ro.items():
            argv += ["--ro-bind", str(path), inside]
        for path, inside in rw.items():
            argv += ["--bind", str(path), inside]
        argv += ["--chdir", cwd, "--clearenv"]
        for key, value in settings.items():
            argv += ["--setenv", key, value]
        return [*argv, "--as-pid-1", "--", *_INIT, *cmd]


@functools.cache
def _no_more_namespaces() -> tuple[str, ...]:
    """The option that keeps what runs inside from making user namespaces of its own, in which it would
    have capabilities again; none where bubblewrap (before 0.8) or the machine cannot do it."""
    option = "--disable-userns"
    argv = ["bwrap", "--unshare-user", option, "--ro-bind", "/", "/", "true"]
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PROBE_BUDGET, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return (option,) if done.returncode == 0 else ()


@functools.cache
def probe() -> Sandbox | None:
    """The sandbox that works on this machine, found by running something in it; None if none does."""
    if shutil.which("bwrap") is None:
        return None
    sandbox = Sandbox("bubblewrap")
    argv = sandbox.argv(["true"], ro={}, rw={}, cwd="/", env={})
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PROBE_BUDGET, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return sandbox if done.returncode == 0 else None


def require(no_sandbox: bool = False) -> Sandbox:
    """The sandbox for builds; with ``no_sandbox`` none at all, because the user said so.

    LabUnavailable when this machine has none and the user did not.
    """
    if no_sandbox:
        return Sandbox("none")
    found = probe()
    if found is None:
        raise LabUnavailable(
            "no sandbox for building code from strangers: bubblewrap is missing or may not make namespaces",
            hint="install bubblewrap and allow user namespaces, or trust the series and pass --no-sandbox",
        )
    return found
