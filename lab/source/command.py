# SPDX-License-Identifier: GPL-2.0-or-later
"""Run a tool: bounded in time, in the C locale, never asking anybody anything."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lab.model.errors import LabUnavailable


@dataclass(frozen=True, slots=True)
class Done:
    """What a tool said. ``out`` and ``err`` are text; undecodable bytes are kept as surrogates."""

    code: int
    out: str
    err: str


_GIT_KEPT = ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM", "GIT_EXEC_PATH")


def tool_env(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The caller's environment with messages in English and no prompts, plus ``extra``.

    Called from a git hook, GIT_DIR and the like would turn our repositories into the caller's.
    """
    env = {k: v for k, v in os.environ.items() if not k.startswith("GIT_") or k in _GIT_KEPT}
    env |= {"LC_ALL": "C.UTF-8", "LANGUAGE": "", "DEBIAN_FRONTEND": "noninteractive"}
    env.update(extra or {})
    return env


def run(
    argv: Sequence[str | Path],
    *,
    what: str,
    timeout: float,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    check: bool = True,
) -> Done:
    """Run ``argv`` to its end; kill its process group after ``timeout`` seconds or on any exception.

    ``what`` names the purpose in errors. LabUnavailable when the tool is missing, takes too long
    or (with ``check``) fails.
    """
    words = [str(a) for a in argv]
    try:
        process = subprocess.Popen(
            words,
            cwd=cwd,
            env=dict(env) if env is not None else tool_env(),
            stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except FileNotFoundError as e:
        raise LabUnavailable(
            f"{what}: {words[0]} is not installed", hint="ci/hvlab installs what the lab needs"
        ) from e
    try:
        out, err = process.communicate(stdin, timeout=timeout)
    except subprocess.TimeoutExpired as e:
        raise LabUnavailable(f"{what}: no end after {timeout:.0f} s", where=" ".join(words[:3])) from e
    finally:
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
    done = Done(process.returncode, _text(out), _text(err))
    if check and done.code != 0:
        raise LabUnavailable(
            f"{what} failed (exit {done.code})", where=" ".join(words[:3]), detail=_tail(done.err or done.out)
        )
    return done


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _tail(text: str, lines: int = 15) -> str:
    return "\n".join(text.strip().splitlines()[-lines:])
