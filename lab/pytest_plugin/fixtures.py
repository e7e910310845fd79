# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures of a scenario. ``lab`` checks after every scenario what nobody may leave behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.child.vmm import Vmm
from lab.pytest_plugin.afterwards import check_afterwards
from lab.pytest_plugin.audit import audit_children
from lab.pytest_plugin.instruments import Evidence, LedgerProbe, SlatProbe
from lab.pytest_plugin.recording import Recording
from lab.pytest_plugin.scenario import ScenarioMark, scenario_of
from lab.pytest_plugin.session import LabSession
from lab.root.root import Root
from lab.validate.base import BaseLab, LabDevice
from lab.validate.kernel_log import KernelLog


def _session(request: pytest.FixtureRequest) -> LabSession:
    from lab.pytest_plugin.hooks import SESSION

    return request.config.stash[SESSION]


@pytest.fixture
def evidence(request: pytest.FixtureRequest) -> Evidence:
    """Evidence and observations of this scenario."""
    session = _session(request)
    if session.recording is None:
        session.recording = Recording(request.node.name, ScenarioMark())
    return Evidence(session.recording, session.out)


@pytest.fixture
def lab(request: pytest.FixtureRequest, evidence: Evidence) -> Iterator[BaseLab]:
    """A clean booted lab; afterwards kernel log, ledger and partitions are checked."""
    session = _session(request)
    mark = scenario_of(request.node) or ScenarioMark()
    booted = session.lab(mark)
    if session.recording is not None and booted.witness.detectors is not None:
        session.recording.detectors = booted.witness.detectors
    ledger_start = booted.witness.position()
    yield booted
    try:
        check_afterwards(booted, mark, evidence, ledger_start)
    finally:
        booted.clear_faults()


@pytest.fixture
def root(lab: BaseLab) -> Root:
    """The root partition over SSH."""
    return lab.root


@pytest.fixture
def kernel_log(lab: BaseLab) -> KernelLog:
    """The root's kernel log, serial and dmesg merged, with a position cursor."""
    return lab.kernel_log


@pytest.fixture
def ledger(lab: BaseLab) -> LedgerProbe:
    """The ledger from here on: the stand-in's, or what the driver's own traces say."""
    return LedgerProbe(lab)


@pytest.fixture
def slat(lab: BaseLab) -> SlatProbe:
    """Second-level page tables."""
    return SlatProbe(lab)


@pytest.fixture
def device(lab: BaseLab) -> LabDevice:
    """The device whose pages can be told apart. Ours is ivshmem: BAR2 backed by a host file whose pages
    carry index and nonce; whatever an earlier scenario wrote there is gone."""
    device = lab.test_device()
    if device.memory is not None:
        device.memory.restore()
    return device


@pytest.fixture
def edu(lab: BaseLab) -> LabDevice:
    """QEMU's edu device."""
    return lab.device("edu")


@pytest.fixture
def child(request: pytest.FixtureRequest, lab: BaseLab, evidence: Evidence) -> Iterator[Vmm]:
    """A VMM in the root, started but without a partition; ended afterwards whatever happened. What its
    partition maps at the end is audited before."""
    lab.require_children()
    vmm = Vmm(lab.root)
    vmm.start()
    try:
        yield vmm
        audit_children(lab, scenario_of(request.node) or ScenarioMark(), evidence, [vmm])
    finally:
        vmm.close()
