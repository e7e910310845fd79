# SPDX-License-Identifier: GPL-2.0-or-later
"""``avocado run`` by hand: a task in all variants of a matrix file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from runs import Matrix

from lab import paths

AVOCADO = Path(sys.executable).with_name("avocado")


def avocado(*words: str | Path) -> subprocess.CompletedProcess[str]:
    # The runner is looked for in PATH.
    path = f"{AVOCADO.parent}:{os.environ['PATH']}"
    return subprocess.run(
        [str(w) for w in (AVOCADO, *words)],
        capture_output=True,
        text=True,
        timeout=180,
        env={**os.environ, "PATH": path},
    )


def test_every_variant_of_the_matrix_is_run_and_told(tmp_path: Path) -> None:
    record = Matrix(tmp_path, 1, 0.2).records[0]
    (tmp_path / "m.toml").write_text(
        '[matrix]\nflavours = ["plain", "debug"]\n[[budget]]\nflavour = "debug"\nseconds = 0.5\n'
    )
    # The series is none, so every variant ends at once, and is told as lost.
    words = ("--max-parallel-tasks", "1", "--job-results-dir", tmp_path / "out")
    done = avocado("run", *words, "--hvlab-matrix", tmp_path / "m.toml", record)
    told = [line for line in done.stdout.splitlines() if line.startswith("s0/v1/")]
    assert [line.split(":")[0] for line in told] == ["s0/v1/plain", "s0/v1/debug"], done.stdout + done.stderr
    for line in told:
        assert (Path(line.split("  ")[-1]) / "variant.json").is_file()
    results = json.loads((tmp_path / "out" / "latest" / "results.json").read_text())
    assert results["total"] == 2
    assert done.returncode != 0


def test_the_variants_can_be_listed() -> None:
    done = avocado("variants", "--hvlab-matrix", paths.repo_root() / "ci" / "nightly.toml", "--variants", "2")
    assert "plain+hv_nofull_mmio" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("text", ["x = 1", "[matrix]\nflavours = ['nope']"])
def test_a_wrong_matrix_file_ends_in_one_message(tmp_path: Path, text: str) -> None:
    record = Matrix(tmp_path, 1, 0.2).records[0]
    (tmp_path / "m.toml").write_text(text)
    done = avocado(
        "run", "--job-results-dir", tmp_path / "out", "--hvlab-matrix", tmp_path / "m.toml", record
    )
    assert done.returncode != 0
    assert f"{tmp_path}/m.toml:" in done.stderr and "Traceback" not in done.stderr + done.stdout
