# SPDX-License-Identifier: GPL-2.0-or-later
"""How Vmm uses its channel, against a VMM played by the test."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, cast

import pytest

from lab.child.channel import IN_FLIGHT
from lab.child.protocol import Access, VmmError
from lab.child.vmm import BATCH, Vmm
from lab.model.errors import LabError
from lab.root.root import Root

HELLO = "ok version=1 pid=42 ring=2048 vps=0 ram_pages=0"
Answer = Callable[[list[str]], str]


class FakeVmm:
    """Answers each request with ``answer(words)``; remembers requests and how many were open."""

    vmm = "/sbin/mshv-vmm"
    factor = 1.0

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.requests: list[list[str]] = []
        self.replies: deque[str] = deque()
        self.most_open = 0

    def open_session(self, command: str) -> FakeVmm:
        return self

    def send_line(self, line: str, budget: float) -> None:
        tag, *words = line.split()
        self.requests.append(words)
        reply = HELLO if words == ["hello"] else self.answer(words)
        self.replies.append(f"{tag} {reply}")
        self.most_open = max(self.most_open, len(self.replies))

    def receive_line(self, budget: float) -> str:
        return self.replies.popleft()

    def close(self) -> None:
        pass


def started(answer: Answer) -> tuple[Vmm, FakeVmm]:
    fake = FakeVmm(answer)
    vmm = Vmm(cast(Root, fake))
    vmm.start()
    return vmm, fake


def echo_address(words: list[str]) -> str:
    return "ok " + " ".join(word.partition(":")[2][-2:] for word in words[2:])


def test_slow_root_gives_the_vmm_more_time():
    fake = FakeVmm(lambda words: "ok 3")
    fake.factor = 8.0
    vmm = Vmm(cast(Root, fake))
    vmm.start()
    assert vmm.read_event(1, budget=0.5) == 3
    assert fake.requests[1:] == [["budget", "40000"], ["event", "read", "1", "4000"]]


def test_start_learns_the_process_id() -> None:
    vmm, _fake = started(lambda words: "ok")
    assert vmm.pid == 42


def test_large_batches_are_split_and_several_are_under_way() -> None:
    vmm, fake = started(echo_address)
    accesses = [Access(0x100 + i % 100, 1) for i in range(BATCH * (IN_FLIGHT + 3))]
    results = vmm.access(accesses)
    assert [r.access for r in results] == accesses
    assert all(r.value == int(f"{r.access.gpa:x}"[-2:], 16) for r in results)
    assert len(fake.requests) - 1 == IN_FLIGHT + 3
    assert fake.most_open == IN_FLIGHT


def test_error_in_the_middle_of_a_pipeline_keeps_the_channel_in_step() -> None:
    def answer(words: list[str]) -> str:
        return "err access ETIMEDOUT stuck" if words[2] == "r1:111" else echo_address(words)

    vmm, fake = started(answer)
    accesses = [Access(0x111 if i == BATCH else 0x100, 1) for i in range(BATCH * 8)]
    with pytest.raises(VmmError, match="ETIMEDOUT"):
        vmm.access(accesses)
    assert not fake.replies
    assert len(fake.requests) < 8
    assert vmm.read(0, 0x122, 1) == 0x22


def test_reply_to_another_request_is_an_error_not_a_result() -> None:
    vmm, fake = started(lambda words: "ok 1")
    fake.replies.append("1 ok 99")
    with pytest.raises(LabError, match="not the reply"):
        vmm.read(0, 0x1000, 1)


def test_refused_region_leaves_no_host_mapping() -> None:
    def answer(words: list[str]) -> str:
        if words[:2] == ["region", "add"]:
            return "err region EINVAL MSHV_SET_GUEST_MEMORY"
        return "ok 5 16 0x7f0000000000" if words[0] == "map" else "ok"

    vmm, fake = started(answer)
    with pytest.raises(VmmError) as caught:
        vmm.map_bar("0000:00:03.0", 2, gfn=0x100, pages=16)
    assert caught.value.errno_name == "EINVAL"
    assert fake.requests[-1] == ["munmap", "5"]


def test_whole_bar_is_mapped_once_and_the_region_takes_the_offset() -> None:
    vmm, fake = started(lambda words: "ok 5 16 0x0" if words[0] == "map" else "ok 9")
    region = vmm.map_bar("0000:00:03.0", 2, gfn=0x100, pages=3, first_page=4, writable=False)
    assert fake.requests[-2] == ["map", "vfio", "0000:00:03.0", "2", "0", "0", "rw"]
    assert fake.requests[-1] == ["region", "add", "0x100", "3", "5", "4", "r"]
    assert (region.id, region.map, region.first_page) == (9, 5, 4)


def test_partial_mapping_moves_the_offset_into_the_vma() -> None:
    vmm, fake = started(lambda words: "ok 5 3 0x0" if words[0] == "map" else "ok 9")
    vmm.map_bar("0000:00:03.0", 2, 0x100, 3, first_page=4, partial=True, host_writable=False)
    assert fake.requests[-2] == ["map", "vfio", "0000:00:03.0", "2", "4", "3", "ro"]
    assert fake.requests[-1] == ["region", "add", "0x100", "3", "5", "0", "rw"]


def test_host_mapping_taken_away_is_not_unmapped_twice() -> None:
    vmm, fake = started(lambda words: "ok 5 3 0x0" if words[0] == "map" else "ok 9")
    region = vmm.map_anonymous(0x100, 3)
    vmm.munmap(region)
    vmm.unmap(region)
    assert [words for words in fake.requests if words[0] == "munmap"] == [["munmap", "5"]]
    assert fake.requests[-1] == ["region", "del", "9"]


def test_parallel_results_come_back_per_vp() -> None:
    vmm, fake = started(lambda words: "ok 1 2 / 3 4")
    jobs = [[Access(0x1000 * i, 1, vp=vp) for i in range(2)] for vp in (1, 0)]
    results = vmm.parallel(jobs, lockstep=True)
    assert fake.requests[-1] == ["parallel", "lockstep", "1", "r1:0", "r1:1000", "/", "0", "r1:0", "r1:1000"]
    assert [[r.value for r in part] for part in results] == [[1, 2], [3, 4]]
    assert [part[0].access.vp for part in results] == [1, 0]


def test_parallel_list_that_mixes_vps_is_refused() -> None:
    vmm, _fake = started(lambda words: "ok")
    with pytest.raises(ValueError, match="exactly one VP"):
        vmm.parallel([[Access(0, vp=0), Access(0, vp=1)]])


def test_intercepted_single_read_raises_with_the_message() -> None:
    vmm, _fake = started(lambda words: "ok !80000000,5000,0,0,0,408a,8b07")
    with pytest.raises(VmmError, match="UNMAPPED_GPA, gpa 0x5000") as caught:
        vmm.read(0, 0x5000)
    assert caught.value.errno_name == "EINTERCEPT"


def test_requests_before_start_say_what_to_do() -> None:
    vmm = Vmm(cast(Any, None))
    with pytest.raises(LabError, match=r"start\(\)"):
        vmm.hello()
