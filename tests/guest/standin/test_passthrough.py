# SPDX-License-Identifier: GPL-2.0-or-later
"""Random hypercalls from the root's user space, through the driver's passthrough (MSHV_ROOT_HVCALL)."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import paths
from lab.judge.splats import parse
from lab.progress import NullProgress
from lab.templates import load_machine
from lab.validate.bringup import BootRequest, Lab
from lab.validate.kernels import Selectors, embedded_series, prepare

CALLS = 20_000
BUDGET = 120.0


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    out = tmp_path_factory.mktemp("fuzz")
    source = paths.images_dir() / "vmm"
    subprocess.run(
        ["make", "-s", "-C", str(source), f"O={out}", str(out / "mshv-fuzz")], check=True, timeout=120
    )
    return Path(out, "mshv-fuzz").read_bytes()


@pytest.fixture(scope="module")
def booted() -> Iterator[Lab]:
    kernel = prepare(Selectors(series=str(embedded_series())), NullProgress())
    booted = Lab.boot(BootRequest(load_machine("mshv-root", {}), kernel), NullProgress())
    try:
        yield booted
    finally:
        booted.close()


@pytest.mark.parametrize("seed", [1, None], ids=["seed 1", "a new seed"])
def test_random_passthrough_calls_do_no_harm(booted: Lab, program: bytes, seed: int | None) -> None:
    seed = seed if seed is not None else secrets.randbits(32)
    booted.root.put(program, "/tmp/mshv-fuzz", mode=0o755)
    position = booted.root.kmsg_position()
    before = booted.hypervisor.position()
    done = booted.root.run(f"/tmp/mshv-fuzz {seed} {CALLS}", timeout=BUDGET)
    print(f"again: /tmp/mshv-fuzz {seed} {CALLS}\n{done.out}")
    assert f"calls {CALLS} " in done.out
    assert booted.hypervisor.position() > before + CALLS // 4, "hardly any call reached the stand-in"
    lines = booted.root.kmsg_since(position)
    assert not list(parse(lines)), "\n".join(lines)
    assert booted.hypervisor.panicked() is None
    assert booted.partitions_left() == [], f"seed {seed}"
