# SPDX-License-Identifier: GPL-2.0-or-later
"""Random hypercalls: a fixed seed, so that a change breaks the same run again, and a new one each time."""

from __future__ import annotations

import secrets

import pytest

from lab import paths
from lab.build.standin import build_standin
from lab.cache import Cache
from lab.validate.fuzz import run_fuzz

from .conftest import guest

CALLS = 20_000
FEWER_CALLS = 8_000


@pytest.mark.parametrize("seed", [1, None], ids=["seed 1", "a new seed"])
def test_random_hypercalls_do_no_harm(seed: int | None) -> None:
    standin = build_standin(Cache(paths.cache_root()))
    run = run_fuzz(
        seed if seed is not None else secrets.randbits(32), CALLS, guest(), standin.elf, standin.symbols
    )
    print(f"again: {run.replay}")
    assert run.ok, run.why()
    assert run.number == CALLS
    assert len(run.codes) > 30, "too few kinds of calls: the generator is broken"
    assert run.messages > 10, "no child ran into an intercept"
    assert run.statuses[0] > CALLS // 10, f"hardly any call succeeds: {run.statuses}"
    assert run.looks > 3 and run.leaves > 10, f"{run.looks} looks at {run.leaves} leaves: nothing was watched"


@pytest.mark.parametrize(
    ("cpus", "words"),
    [(2, ()), (1, ("scheduler=core",)), (2, ("scheduler=core",)), (1, ("parent=l1vh",))],
    ids=["two LPs", "core", "core on two LPs", "l1vh"],
)
def test_random_hypercalls_of_other_machines(cpus: int, words: tuple[str, ...]) -> None:
    standin = build_standin(Cache(paths.cache_root()))
    seed = secrets.randbits(32)
    run = run_fuzz(seed, FEWER_CALLS, guest(), standin.elf, standin.symbols, cpus=cpus, hypervisor_args=words)
    print(f"again: {run.replay}")
    assert run.ok, run.why()
    assert run.number >= FEWER_CALLS
    assert all(last.number > FEWER_CALLS // 10 for last in run.last), f"an LP hardly called: {run.last}"
    assert run.intercepts > 3, "no child ran into an intercept"
