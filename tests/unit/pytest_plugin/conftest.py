# SPDX-License-Identifier: GPL-2.0-or-later
"""A pytest run inside a pytest run, under the plugin; labs are stand-ins, everything else is real."""

import json
from types import SimpleNamespace

import pytest

from lab.model.ledger import LedgerSlice
from lab.pytest_plugin import session

ABILITIES = {"map_on_first_touch": True, "nofull_mmio": False, "full_mmio": True}


class FakeLab:
    """A lab that boots at once. ``script`` of the world says what each boot is to do."""

    def __init__(self, world, request):
        self.world = world
        self.args = request.kernel_args
        self.why_not_clean = ""
        self.boot_seconds, self.release, self.name = 0.1, "7.3.4", "lab-1"
        self.log_mark = 0
        self.spec = SimpleNamespace(booted_by_lab=True)
        self.kernel_log = SimpleNamespace(
            mark=lambda: 0,
            position=lambda: 0,
            since=lambda p: world.logs.pop(0) if world.logs else [],
            unread=lambda p: world.late.pop(0) if world.late else [],
            serial_since=lambda p: [],
        )
        self.kernel, self.factor = request.kernel, world.factor
        self.witness = SimpleNamespace(
            sees_ledger=world.sighted,
            sees_children=world.sighted,
            detectors=None if world.sighted else ("warn",),
            position=lambda: 0,
            since=lambda p: LedgerSlice((), 0, 0),
        )
        self.root = SimpleNamespace(stacks=lambda: world.stacks)

    def alive(self):
        return True

    def clear_faults(self):
        pass

    def clean(self):
        return not self.why_not_clean

    def spoil(self, why):
        self.why_not_clean = self.why_not_clean or why

    def symbolise(self, address):
        return hex(address)

    def partitions_left(self, budget):
        self.world.patience.append(budget)
        return []

    def close(self):
        self.world.closed += 1

    def keep(self):
        self.world.kept.append(self.name)


class World:
    """Boots, probes and their accidents, in order; what is left of ``accidents`` never happened."""

    def __init__(self):
        self.boots = []
        self.closed = 0
        self.kept = []
        self.patience = []
        """How long partitions were given to go, after each scenario."""
        self.boot_accidents = []
        self.probe_accidents = []
        self.stacks = ""
        self.sighted = True
        self.logs = []
        """What the kernel log says at each look: after a boot, after a scenario."""
        self.factor = 0.0
        """How slow the guests are; 0: nothing is waited for."""
        self.late = []
        """What the console says at each look between scenarios."""

    def boot(self, request, progress):
        self.boots.append(request.kernel_args)
        if self.boot_accidents and (error := self.boot_accidents.pop(0)) is not None:
            raise error
        return FakeLab(self, request)

    def probe(self, lab, kernel_args):
        if self.probe_accidents and (error := self.probe_accidents.pop(0)) is not None:
            raise error
        return ABILITIES


@pytest.fixture
def world(monkeypatch):
    made = World()
    monkeypatch.setattr(session, "boot_or_fork", made.boot)
    monkeypatch.setattr(session, "probe_abilities", made.probe)
    monkeypatch.setattr(session.LabSession, "kernel", lambda self: None)
    return made


@pytest.fixture
def run(pytester, world, tmp_path, monkeypatch):
    """Run a file of tests under the plugin; the result and the report's events."""
    # Other people's plugins cost more time here than everything else.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def go(text, *options):
        pytester.makepyfile(test_inner="import pytest\nfrom lab.model.errors import GuestDied\n" + text)
        report = tmp_path / "report.jsonl"
        report.unlink(missing_ok=True)
        argv = [
            "-q",
            "-p",
            "lab.pytest_plugin",
            "-p",
            "no:cacheprovider",
            f"--hvlab-report={report}",
            f"--hvlab-out={tmp_path}",
        ]
        result = pytester.runpytest_inprocess(*argv, *options, no_reraise_ctrlc=True)
        events = [json.loads(line) for line in report.read_text().splitlines()] if report.exists() else []
        return result, events

    return go
