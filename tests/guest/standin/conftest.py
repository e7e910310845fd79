# SPDX-License-Identifier: GPL-2.0-or-later
"""The tiny root partition of images/tiny: one QEMU for each group of its cases."""

from __future__ import annotations

import functools

import pytest

from lab import paths
from lab.build.standin import build_standin
from lab.build.tiny import TinyCase, TinyGuest, build_tiny, read_cases
from lab.cache import Cache
from lab.validate.tiny import FUZZ, GROUPS, TinyRun, run_group


@functools.cache
def guest() -> TinyGuest:
    """The guest, built at the first use."""
    return build_tiny(Cache(paths.cache_root()))


@functools.cache
def group_run(group: str) -> TinyRun:
    """All cases of a group in one QEMU."""
    standin = build_standin(Cache(paths.cache_root()))
    return run_group(group, guest(), standin.elf, standin.symbols)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test with ``case`` runs for each case of the guest's table, one with ``group`` for each group."""
    if "case" in metafunc.fixturenames:
        cases = [c for c in read_cases(guest().symbols) if c.group != FUZZ]
        metafunc.parametrize("case", cases, ids=[f"{c.group}: {c.name}" for c in cases])
    if "group" in metafunc.fixturenames:
        metafunc.parametrize("group", sorted(GROUPS))


@pytest.fixture
def run(request: pytest.FixtureRequest) -> TinyRun:
    """The run to which the test's case or group belongs."""
    if "case" in request.fixturenames:
        case: TinyCase = request.getfixturevalue("case")
        return group_run(case.group)
    return group_run(request.getfixturevalue("group"))
