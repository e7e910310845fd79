# SPDX-License-Identifier: GPL-2.0-or-later
"""Reset and unplugging of a device that a child uses. It must be behind a root port: ``--param ports=on``."""

from __future__ import annotations

import pytest

from lab.pytest_plugin.recording import AbilityMissing

scenario = pytest.mark.scenario
REQUEST_SECONDS = 10.0
UNPLUG_SECONDS = 10.0


@pytest.fixture
def behind_port(lab, device):
    """The test device, if it is behind a root port."""
    if device.bdf.startswith("0000:00:"):
        raise AbilityMissing("the device is not behind a root port; boot with --param ports=on")
    return device


def gone(lab, root, device, budget=UNPLUG_SECONDS):
    """Whether the root has lost the device in time."""
    look = f"ls /sys/bus/pci/devices | grep -c {device.bdf} || true"
    return not lab.settle(lambda: [0] * int(root.run(look).out), budget)


@scenario(slow=True)
def test_reset_under_a_storm_shows_the_device_or_nothing(mapped, storm, behind_port, evidence):
    m = mapped(behind_port, vps=2)
    with storm(m) as reads:
        for _ in range(3):
            m.child.device(behind_port.bdf, "reset")
    reads.check()
    assert not m.wrong_pages(), "not every page is the device's after the reset"
    assert not m.audit(), m.audit()[0]
    evidence.observe("pages that read right after resets", m.pages)


@scenario(slow=True)
def test_device_that_is_unplugged_in_good_order_leaves_nothing(
    lab, mapped, storm, behind_port, root, evidence
):
    m = mapped(behind_port, vps=2)
    lab.spoil("a device was unplugged")
    request = m.child.release_request(behind_port.bdf)
    with storm(m) as reads:
        lab.machine.qmp.execute("device_del", id=behind_port.id)
        asked = m.child.read_event(request, REQUEST_SECONDS)
        m.child.munmap(m.region)
        left = m.pages_left()
        m.child.device(behind_port.bdf, "close")
        went = gone(lab, root, behind_port)
    evidence.observe("the kernel asked for the device", bool(asked))
    evidence.observe("pages left when it was given back", left)
    evidence.observe("the device went", went)
    assert asked, "nobody told the VMM that the device is about to go"
    assert not left, f"the child keeps {left} pages of a device that was given back"
    assert went, "the device is still there"
    reads.check()
    results = m.child.access([m.access(page) for page in range(8)])
    assert not any(r.ok for r in results), "the child reads where the device was"


@scenario(slow=True)
def test_device_that_is_torn_out_leaves_no_way_to_its_place(lab, mapped, storm, behind_port, root, evidence):
    m = mapped(behind_port, vps=2)
    lab.spoil("a device was torn out")
    request = m.child.release_request(behind_port.bdf)
    port = root.run(f"basename $(readlink -f /sys/bus/pci/devices/{behind_port.bdf}/..)").out.strip()
    with storm(m, vps=(0,)) as reads:
        # Without asking anybody: the link behind the port goes down, then the kernel is told to forget it.
        m.child.device(behind_port.bdf, "off")
        root.run(f"(echo 1 >/sys/bus/pci/devices/{port}/remove) >/dev/null 2>&1 </dev/null &")
        asked = m.child.read_event(request, REQUEST_SECONDS)
        left = m.pages_left()
        m.child.give_back(m.region, behind_port.bdf)
        went = gone(lab, root, behind_port)
    evidence.observe("the kernel asked for the device", bool(asked))
    evidence.observe("pages left before the VMM gave it back", left)
    evidence.observe("the device went", went)
    reads.check()
    assert asked and went, "the port was not removed"
    assert not left, f"the child keeps {left} pages of a device that does not decode any more"
