# SPDX-License-Identifier: GPL-2.0-or-later
"""Starts processes that die with this one, even when this one is killed with SIGKILL.

PR_SET_PDEATHSIG is delivered when the *thread* that forked ends, not the process (see prctl(2)). So
children are started from one thread that lives as long as the process. util-linux' ``setpriv`` sets the
signal and then becomes the child: no Python code runs between fork and exec.
"""

from __future__ import annotations

import os
import queue
import shutil
import subprocess
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path

_Job = tuple[list[str], dict[str, str], Path, Future["subprocess.Popen[bytes]"]]

_lock = threading.Lock()
_jobs: queue.SimpleQueue[_Job] | None = None
_jobs_pid = 0


def start(
    argv: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None, die_with_me: bool
) -> subprocess.Popen[bytes]:
    """Start ``argv`` in a session of its own, its output appended to ``log``.

    A session of its own keeps a Ctrl-C in the terminal from reaching it: ending it is our work. With
    ``die_with_me`` the kernel kills it when this process ends, however that happens. Raises OSError.
    """
    command = list(argv)
    if die_with_me and (setpriv := shutil.which("setpriv")):
        command = [setpriv, "--pdeathsig", "KILL", "--", *command]
    done: Future[subprocess.Popen[bytes]] = Future()
    _queue().put((command, {**os.environ, **(env or {})}, log, done))
    return done.result()


def _queue() -> queue.SimpleQueue[_Job]:
    global _jobs, _jobs_pid
    with _lock:
        if _jobs is None or _jobs_pid != os.getpid():  # threads do not survive a fork
            _jobs, _jobs_pid = queue.SimpleQueue(), os.getpid()
            threading.Thread(target=_serve, args=(_jobs,), name="hvlab-spawn", daemon=True).start()
        return _jobs


def _serve(jobs: queue.SimpleQueue[_Job]) -> None:
    while True:
        command, env, log, done = jobs.get()
        try:
            with log.open("ab") as output:
                done.set_result(
                    subprocess.Popen(
                        command,
                        env=env,
                        stdin=subprocess.DEVNULL,
                        stdout=output,
                        stderr=output,
                        start_new_session=True,
                    )
                )
        except BaseException as error:  # the caller waits for it: every error must reach it
            done.set_exception(error)
