# SPDX-License-Identifier: GPL-2.0-or-later
"""Requests that the lab's VMM has no use for: a VP's state, the access bitmap, hypercalls passed on."""

from __future__ import annotations

import struct

import pytest

from lab.child import requests as rq
from lab.child.protocol import Access, VmmError
from lab.child.requests import UNTOUCHED, Buffer
from lab.root import leaks

scenario = pytest.mark.scenario
GFN = 0x100000
PAGE = 4096
HYPERV = 0x07400FFF
"""Synthetic processor features with which a VP has pages of a SynIC."""
LAPIC, XSAVE, SIMP, SIEFP, TIMERS = range(5)
BUFFER_OF_STATE, BUFFER_OF_BITMAP, BUFFER_IN, BUFFER_OUT = 8, 24, 16, 24
"""Where the structures have the addresses of their buffers."""
GET_PROPERTY, INSTALL_INTERCEPT, GET_REGISTERS = 0x44, 0x4D, 0x50
DEPOSIT_MEMORY = 0x48
SYNTHETIC_FEATURES = 0x00010001
REGISTER_RIP = 0x00020010
PAYLOAD_ENDS = 0x80010000
"""The last message of every run: the payload writes to an I/O port."""


def state(child, request, kind, data=b"", size=PAGE):
    buffer = Buffer(BUFFER_OF_STATE, size, data)
    answer = child.ask(0, request, kind, bytes(3), size, 0, buffers=(buffer,))
    assert not answer.error, f"the state of type {kind}: {answer.error}"
    return answer.buffers[0]


@scenario()
def test_state_of_a_vp_is_what_was_set_and_holds_no_page(child, root, evidence):
    child.create_partition(vps=1, lapic=True, hyperv=HYPERV)
    before = leaks.pinned(root)
    pages = {kind: bytes((i * 7 + kind) & 0xFF for i in range(PAGE)) for kind in (SIMP, SIEFP)}
    for kind, data in pages.items():
        state(child, rq.SET_STATE, kind, data)
    for kind, data in pages.items():
        assert state(child, rq.GET_STATE, kind) == data, f"the page of type {kind} is not what was set"
    for kind in (LAPIC, XSAVE, TIMERS):
        was = state(child, rq.GET_STATE, kind)
        state(child, rq.SET_STATE, kind, was)
        assert state(child, rq.GET_STATE, kind) == was
    half = child.ask(
        *(0, rq.GET_STATE, LAPIC, bytes(3), 2 * PAGE, 0), buffers=(Buffer(BUFFER_OF_STATE, PAGE),)
    )
    assert half.error == "EFAULT", "half of the buffer is not there"
    held = leaks.pinned(root) - before
    evidence.observe("pages that stay pinned", held)
    assert not held, f"{held} pages of the VMM are pinned when all requests have ended"


def bitmap(child, kind, operation, pages):
    size = -(-pages // 8)
    answer = child.ask(
        "partition",
        rq.ACCESS_BITMAP,
        *(kind, operation, bytes(6), pages, GFN, 0),
        buffers=(Buffer(BUFFER_OF_BITMAP, size + 8),),
    )
    assert not answer.error, f"the access bitmap: {answer.error}"
    got = answer.buffers[0]
    assert got[size:] == bytes([UNTOUCHED]) * 8, "more was written than the bitmap has bytes"
    return {page for page in range(8 * size) if got[page // 8] >> page % 8 & 1}


ACCESSED, DIRTY = range(2)
LOOK, CLEAR, SET = range(3)


@scenario()
def test_access_bitmap_tells_read_pages_from_written_ones(child, evidence):
    """Of more pages than one hypercall answers for, and of a number that no byte ends with."""
    pages = 4300
    child.create_partition(vps=1)
    region = child.map_anonymous(GFN, pages)
    child.advise(region, "small", 0, pages)
    read, written = (1, 6, 513, 4095, 4096, 4299), (5, 512, 4094, 4200)
    touched = {*read, *written}
    work = [Access(region.gpa + page * PAGE, 8) for page in read]
    work += [Access(region.gpa + page * PAGE, 8, "write", page) for page in written]
    child.access(work)
    bitmap(child, ACCESSED, CLEAR, pages)
    assert not bitmap(child, ACCESSED, CLEAR, pages), "pages are accessed right after they were cleared"
    child.access(work)
    assert bitmap(child, DIRTY, CLEAR, pages) == set(written), "the dirty pages are not those written to"
    seen = bitmap(child, ACCESSED, CLEAR, pages)
    evidence.observe("accessed pages", sorted(seen)[:20])
    assert seen == touched
    child.access(work)
    assert bitmap(child, ACCESSED, CLEAR, pages) == touched
    assert not bitmap(child, DIRTY, CLEAR, pages), "a page that is not accessed any more is dirty"
    bitmap(child, DIRTY, SET, pages)
    marked = bitmap(child, DIRTY, CLEAR, pages)
    assert touched <= marked and bitmap(child, ACCESSED, CLEAR, pages) == marked


@scenario()
@pytest.mark.parametrize("kind", [ACCESSED, DIRTY], ids=["accessed", "dirty"])
def test_look_at_the_access_bitmap_changes_nothing(child, evidence, kind):
    child.create_partition(vps=1)
    region = child.map_anonymous(GFN, 64)
    child.advise(region, "small", 0, 64)
    work = [Access(region.gpa + 3 * PAGE, 8, "write", 1)]
    child.access(work)
    bitmap(child, ACCESSED, CLEAR, 64)
    child.access(work)
    looks = [sorted(bitmap(child, kind, LOOK, 64)) for _ in range(2)]
    evidence.observe("pages at the first look and at the second", [len(look) for look in looks])
    assert looks[0] == [3]
    assert looks[1] == looks[0], "a look at the pages has marked them"


def passed_on(child, file, code, data, *, out=8, reps=0, status=0, zero=bytes(6), in_size=None):
    """A hypercall through the driver: the errno's name, the status, and what came out."""
    size = len(data) if in_size is None else in_size
    buffers = [Buffer(BUFFER_IN, max(size, 8), data)]
    if out:
        buffers.append(Buffer(BUFFER_OUT, out))
    answer = child.ask(file, rq.HYPERCALL, code, reps, size, out, status, zero, 0, 0, buffers=tuple(buffers))
    fields = rq.HYPERCALL.unpack(answer.structure)
    return answer.error, fields[4], answer.buffers[-1] if out else b""


@scenario()
def test_hypercall_that_is_passed_on_acts_on_the_own_partition(lab, child, evidence):
    child.create_partition(vps=1, hyperv=HYPERV)
    root_id = lab.root_id
    answers = {}
    for name, partition in {"none": 0, "the root": root_id, "another": 0xFFFF}.items():
        data = struct.pack("<QII", partition, SYNTHETIC_FEATURES, 0)
        error, _, out = passed_on(child, "partition", GET_PROPERTY, data)
        answers[name] = error or hex(int.from_bytes(out, "little"))
    evidence.observe("synthetic features when the VMM names", answers)
    assert set(answers.values()) == {hex(HYPERV)}, "the hypercall went to the partition that the VMM named"


@scenario()
def test_hypercall_that_is_passed_on_tells_its_status(child, evidence):
    child.create_partition(vps=1)
    nobody = struct.pack("<QIBxxxI", 0, 77, 0, REGISTER_RIP)
    error, status, _ = passed_on(child, "partition", GET_REGISTERS, nobody, out=16, reps=1)
    evidence.observe("a VP that is not there", [error, hex(status)])
    assert error, "a register of a VP that is not there was read"
    assert status, "the hypercall failed, and the VMM is not told with which status"
    somebody = struct.pack("<QIBxxxI", 0, 0, 0, REGISTER_RIP)
    error, status, _ = passed_on(child, 0, GET_REGISTERS, somebody, out=16, reps=1)
    assert (error, status) == ("", 0)


@scenario()
def test_hypercall_that_may_not_be_passed_on_is_refused(child, ledger, evidence):
    child.create_partition(vps=1)
    rip = struct.pack("<QIBxxxI", 0, 0, 0, REGISTER_RIP)
    feature = struct.pack("<QII", 0, SYNTHETIC_FEATURES, 0)
    position = ledger.mark()
    said = {
        "deposit": passed_on(child, "partition", DEPOSIT_MEMORY, rip, out=0, reps=1),
        "register of the root": passed_on(child, "device", GET_REGISTERS, rip, out=16, reps=1),
        "intercept of the root": passed_on(child, "device", INSTALL_INTERCEPT, rip, out=0),
        "input too long": passed_on(child, "partition", GET_PROPERTY, feature, in_size=PAGE + 8),
        "input too short": passed_on(child, "partition", GET_PROPERTY, feature[:4]),
        "output too long": passed_on(child, "partition", GET_PROPERTY, feature, out=PAGE + 8),
        "a status": passed_on(child, "partition", GET_PROPERTY, feature, status=1),
        "no zeroes": passed_on(child, "partition", GET_PROPERTY, feature, zero=bytes(5) + b"\1"),
    }
    errors = {what: error for what, (error, _, _) in said.items()}
    evidence.observe("refused with", errors)
    assert errors == dict.fromkeys(said, "EINVAL")
    if not ledger.complete:
        evidence.unseen("hypercalls that are passed on")
        return
    made = [n for n in ("GET_PARTITION_PROPERTY", "GET_VP_REGISTERS") if ledger.hypercalls(n, position)]
    assert not made, f"a request was refused after its hypercall: {made[0]}"


@scenario()
def test_partition_that_is_initialized_again_goes_on(child, evidence):
    child.create_partition(vps=1)
    child.write(0, 0x60000, 8, 0x1D)
    said = child.ask("partition", rq.INITIALIZE)
    evidence.observe("initialized again", said.error or "nothing to do")
    assert not said.error
    region = child.map_anonymous(GFN, 600)
    assert child.read(0, region.gpa + 599 * PAGE, 8) == 0
    assert child.read(0, 0x60000, 8) == 0x1D


@scenario()
def test_vp_number_that_cannot_be_is_refused_before_the_hypercall(child, ledger, evidence):
    child.create_partition(vps=2)
    position = ledger.mark()
    said = {number: child.ask("partition", rq.CREATE_VP, number).error for number in (0, 1)}
    said |= {n: child.ask("partition", rq.CREATE_VP, n).error for n in (256, 257, 1 << 31, (1 << 32) - 1)}
    evidence.observe("refused with", said)
    assert said == {n: "EEXIST" if n < 2 else "EINVAL" for n in said}
    if not ledger.complete:
        evidence.unseen("hypercalls that create a VP")
        return
    made = [call.words[1] for call in ledger.hypercalls("CREATE_VP", position)]
    assert not made, f"the hypervisor was asked for VP {made[0]}"


@scenario()
def test_vp_pages_are_those_of_the_vp_every_time_they_are_mapped(child, evidence):
    registers, message, secure, beyond = range(4)
    child.create_partition(vps=1)
    assert child.read(0, 0, 8) is not None
    shown = [child.show(0, message, 256) for _ in range(20)]
    assert int.from_bytes(shown[0][:4], "little") == PAYLOAD_ENDS
    assert set(shown) == {shown[0]}, "the page of messages is another one every time"
    before = child.show(0, registers)
    assert child.read(0, 0, 8) is not None
    for _ in range(20):
        child.show(0, registers)
    said = {}
    for name, page in {"of a secure VP": secure, "beyond": beyond}.items():
        try:
            child.show(0, page)
        except VmmError as e:
            said[name] = e.errno_name
    evidence.observe("refused with", said)
    assert said == {"of a secure VP": "ENODEV", "beyond": "EINVAL"}
    assert len(before) == PAGE
