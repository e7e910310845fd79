# SPDX-License-Identifier: GPL-2.0-or-later
"""Requests word by word: their numbers, what goes to the VMM, what comes back."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest

from lab.child import requests as rq
from lab.child.protocol import VmmError
from lab.child.requests import Answer, Buffer
from lab.child.vmm import Vmm
from lab.root.root import Root

HELLO = "ok version=1 pid=42 ring=2048 vps=0 ram_pages=0"


class FakeVmm:
    vmm = "/sbin/mshv-vmm"
    factor = 1.0

    def __init__(self, answer: Callable[[list[str]], str]) -> None:
        self.answer = answer
        self.requests: list[list[str]] = []
        self.reply = ""

    def open_session(self, command: str) -> FakeVmm:
        return self

    def send_line(self, line: str, budget: float) -> None:
        tag, *words = line.split()
        self.requests.append(words)
        self.reply = f"{tag} {HELLO if words == ['hello'] else self.answer(words)}"

    def receive_line(self, budget: float) -> str:
        return self.reply

    def close(self) -> None:
        pass


def started(answer: Callable[[list[str]], str]) -> tuple[Vmm, FakeVmm]:
    fake = FakeVmm(answer)
    vmm = Vmm(cast(Root, fake))
    vmm.start()
    return vmm, fake


@pytest.mark.parametrize(
    ("request_", "number"),
    [
        (rq.CREATE_PARTITION, 0x4010B800),
        (rq.INITIALIZE, 0xB800),
        (rq.CREATE_VP, 0x4004B801),
        (rq.SET_MEMORY, 0x4020B802),
        (rq.IRQFD, 0x4010B803),
        (rq.IOEVENTFD, 0x4020B804),
        (rq.ROUTES, 0x4008B805),
        (rq.ACCESS_BITMAP, 0xC020B806),
        (rq.HYPERCALL, 0xC020B807),
        (rq.RUN, 0x8100B800),
        (rq.GET_STATE, 0xC010B801),
        (rq.SET_STATE, 0xC010B802),
    ],
)
def test_numbers_are_those_of_the_kernel(request_: rq.Request, number: int) -> None:
    assert request_.number == number


def test_structure_goes_out_and_comes_back_with_its_buffers() -> None:
    vmm, fake = started(lambda words: f"ok 0 - {words[3]} 0102 a5a5")
    buffers = (Buffer(8, 2, b"\x01\x02"), Buffer(8, 2))
    answer = vmm.ask(1, rq.GET_STATE, 3, bytes(3), 4096, 0, buffers=buffers)
    assert fake.requests[1] == [
        "request",
        "1",
        "0xc010b801",
        "0300000000100000" + 16 * "0",
        "8:2:0102",
        "8:2",
    ]
    assert answer == Answer(0, "", bytes.fromhex(fake.requests[1][3]), (b"\x01\x02", b"\xa5\xa5"))
    assert rq.GET_STATE.unpack(answer.structure) == (3, bytes(3), 4096, 0)


def test_what_follows_a_structure_goes_with_it() -> None:
    vmm, fake = started(lambda words: "ok -1 EINVAL " + words[3])
    answer = vmm.ask("partition", rq.ROUTES, 1, 0, b"\xff" * 16)
    assert fake.requests[1][3] == "0100000000000000" + 32 * "f"
    assert (answer.result, answer.error) == (-1, "EINVAL")


def test_request_without_a_structure() -> None:
    vmm, fake = started(lambda words: "ok 7 -")
    assert vmm.ask("partition", rq.INITIALIZE) == Answer(7, "", b"", ())
    assert fake.requests[1] == ["request", "partition", "0xb800", "-"]
    vmm.ask_nowhere("device", 0x4010B800)
    assert fake.requests[2] == ["request", "device", "0x4010b800", "nowhere"]


def test_page_that_cannot_be_shown_is_an_error_of_the_vmm() -> None:
    vmm, fake = started(lambda words: "ok 0a0b" if words[2] == "1" else "err show ENODEV mapping page 2")
    assert vmm.show(0, 1, 2) == b"\x0a\x0b"
    assert fake.requests[1] == ["show", "0", "1", "2"]
    with pytest.raises(VmmError, match="mapping page 2") as raised:
        vmm.show(0, 2)
    assert raised.value.errno_name == "ENODEV"
