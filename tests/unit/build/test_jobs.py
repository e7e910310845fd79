# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds that share the processors: never more compilers than tokens, and all of them for the last one."""

import shutil
import subprocess
import threading

import pytest

from lab.build.jobs import JobPool
from lab.model.errors import LabUnavailable

MAKEFILE = """
all: $(foreach n,1 2 3 4 5 6,step-$(n))
step-%:
\t@mkdir run-$$$$ && ls -d run-* | wc -l && sleep 0.1 && rmdir run-$$$$
"""


@pytest.fixture
def pool():
    made = JobPool(2)
    yield made
    made.close()


def build(pool, folder, seen):
    with pool.one():
        done = subprocess.run(
            ["make", "-s"],
            cwd=folder,
            env={"PATH": "/usr/bin:/bin", "MAKEFLAGS": pool.makeflags},
            pass_fds=pool.fds,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    assert "jobserver" not in done.stderr, done.stderr
    seen += [int(word) for word in done.stdout.split()]


@pytest.mark.skipif(shutil.which("make") is None, reason="make is missing")
def test_two_builds_use_two_processors_and_the_last_one_both(pool, tmp_path):
    (tmp_path / "Makefile").write_text(MAKEFILE)
    counts = [[], []]
    threads = [threading.Thread(target=build, args=(pool, tmp_path, seen)) for seen in counts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [len(c) for c in counts] == [6, 6]
    assert max(counts[0] + counts[1]) <= 2, "more compilers than tokens"
    alone = []
    build(pool, tmp_path, alone)
    assert max(alone) == 2, "the tokens of ended builds are free again"


def test_stopped_pool_lets_nobody_in(pool):
    with pool.one(), pool.one():
        pool.stop()
        with pytest.raises(LabUnavailable, match="stopped"), pool.one():
            pass
    with pool.one():
        pass
