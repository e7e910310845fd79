# SPDX-License-Identifier: GPL-2.0-or-later
"""What the MMIO scenarios share: a mapped BAR region and the words that must be in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

import pytest

from lab.child.memory import DEFAULT_RAM_PAGES
from lab.child.protocol import Access, Region, StormCount, VmmError
from lab.child.vmm import Vmm
from lab.judge import slat as judge_slat
from lab.model.ledger import LedgerRecord, RecordFlag
from lab.pytest_plugin.instruments import Evidence, LedgerProbe, SlatProbe
from lab.pytest_plugin.recording import AbilityMissing
from lab.pytest_plugin.scenario import scenario_of
from lab.validate.base import BaseLab, LabDevice

GFN = 0x100000
"""Where MMIO regions go in the child: at 4 GiB, far from its RAM."""


@dataclass
class Mapped:
    """A region of a device's BAR in a child, with everything to look at it from both sides."""

    lab: BaseLab
    child: Vmm
    device: LabDevice
    region: Region
    partition: int
    bar_spa: int
    first_page: int
    slat: SlatProbe
    evidence: Evidence

    @property
    def pages(self) -> int:
        return self.region.pages

    def gpa(self, page: int, offset: int = 0) -> int:
        """GPA of a byte in page ``page`` of the region."""
        return (self.region.gfn + page) * 4096 + offset

    def read(self, page: int, offset: int = 0, width: int = 8, vp: int = 0) -> int:
        """One read by the child, which must go through."""
        (result,) = self.child.access([Access(self.gpa(page, offset), width, vp=vp)])
        assert result.message is None, (
            f"the child cannot read page {page} ({self.place(page)}): {result.message.name}"
        )
        return result.value

    def write(self, page: int, offset: int, width: int, value: int) -> None:
        """One write by the child, which must go through."""
        (result,) = self.child.access([Access(self.gpa(page, offset), width, "write", value)])
        assert result.message is None, (
            f"the child cannot write page {page} ({self.place(page)}): {result.message.name}"
        )

    def wrong_pages(self, first: int = 0, vp: int = 0) -> list[int]:
        """Pages (from ``first`` on) whose first word is not the device's; one batch."""
        pages = range(first, self.pages)
        results = self.child.access([self.access(page, vp=vp) for page in pages])
        return [page for page, r in zip(pages, results, strict=True) if r.value != self.expected(page)]

    def touch(self, page: int) -> None:
        """One read by the child, whatever comes of it."""
        self.child.access([self.access(page)])

    def access(self, page: int, kind: str = "read", width: int = 8, vp: int = 0) -> Access:
        """An access to the first bytes of a page, for a batch."""
        return Access(self.gpa(page), width, kind, vp=vp)

    def expected(self, page: int, word: int = 0) -> int:
        """The 64-bit word that the host put into that page of the device."""
        return self.device.expected_word(self.first_page + page, word)

    def spa(self, page: int) -> int | None:
        """SPA page number behind a page of the region now."""
        return self.slat.spa_of(self.partition, self.region.gfn + page)

    def place(self, page: int) -> str:
        """What is behind a page, in words that do not change between boots. By the SLAT, and where nobody
        sees that, by what the child reads there."""
        if not self.slat.seen:
            return self.place_by_value(page)
        spa = self.spa(page)
        if spa is None:
            return "unmapped"
        inside = spa - self.bar_spa
        return f"BAR page {inside}" if 0 <= inside < self.device.pages else f"SPA page {spa:#x}"

    def place_by_value(self, page: int) -> str:
        """What is behind a page, told by the word that the child reads in it."""
        (result,) = self.child.access([self.access(page)])
        if result.message is not None or result.value is None:
            return "unmapped"
        found = self.device.origin(result.value)
        return "no page of the BAR" if found is None else f"BAR page {found}"

    def pages_left(self) -> int:
        """Pages of the region that the child still has: in its SLAT, or else by reading all of them."""
        if self.slat.seen:
            frames = range(self.region.gfn, self.region.gfn + self.pages)
            return sum(run.pages for run in self.slat.runs(self.partition, frames))
        results = self.child.access([self.access(page) for page in range(self.pages)])
        return sum(result.ok for result in results)

    def owners(self) -> int:
        """Mappings of the device's BAR by any child; only the SLATs tell."""
        if not self.slat.seen:
            self.evidence.unseen("who maps the BAR")
            return 0
        return sum(len(self.slat.owners(self.bar_spa + page)) for page in range(self.device.pages))

    def audit(self) -> list[str]:
        """SLAT of this partition against what is live: the region, and the child's RAM. Nothing to say
        where nobody sees it."""
        if not self.slat.seen:
            self.evidence.unseen("the audit of the SLAT")
            return []
        regions = [
            judge_slat.Region(
                "mmio", self.region.gfn, self.pages, spa=self.bar_spa + self.first_page, name="BAR"
            ),
            judge_slat.Region("ram", 0, DEFAULT_RAM_PAGES, name="RAM", executable=True),
        ]
        return self.slat.audit(self.partition, regions, [(self.bar_spa, self.device.pages)])


STORM_PAGES = 8
"""Pages of a region that a storm looks at: the first ones."""
STORM_WORDS = 2
"""Words in each of them."""


class Storm:
    """``with storm(region, ...):`` every VP of the first region's child reads words of all of them.

    Afterwards ``counts`` has one :class:`lab.child.protocol.StormCount` for each VP; :meth:`check` judges.
    """

    def __init__(
        self, evidence: Evidence, regions: tuple[Mapped, ...], vps: tuple[int, ...] = (0, 1)
    ) -> None:
        self.evidence = evidence
        self.child = regions[0].child
        self.vps = vps
        self.counts: list[StormCount] = []
        self.words = {
            m.gpa(page, 8 * word): m.expected(page, word)
            for m in regions
            for page in range(min(STORM_PAGES, m.pages))
            for word in range(STORM_WORDS)
        }

    def __enter__(self) -> Storm:
        for vp in self.vps:
            self.child.storm(vp, self.words)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.counts = [self.child.calm(vp) for vp in self.vps]

    def check(self, *, right: bool = True) -> None:
        """Nobody may have read anything but the device's words or an intercept."""
        for vp, count in zip(self.vps, self.counts, strict=True):
            self.evidence.add(f"storm on VP {vp}: {count}")
        foreign = sum(count.foreign for count in self.counts)
        ones = sum(count.ones for count in self.counts)
        self.evidence.observe("the storm read foreign memory", bool(foreign))
        self.evidence.observe("the storm read where nothing answers", bool(ones))
        first = next((c for c in self.counts if c.foreign), None)
        assert not foreign, (
            f"{foreign} reads gave foreign memory, the first {first.value:#x} at {first.address:#x}"
        )
        assert not ones, f"{ones} reads reached a place where nothing answers"
        assert not sum(count.other for count in self.counts), (
            "reads ended neither with a value nor an intercept"
        )
        if right:
            assert all(count.right for count in self.counts), "a VP of the storm never read the device"


@pytest.fixture
def storm(evidence: Evidence) -> Callable[..., Storm]:
    """``with storm(region, ...) as s:``, see :class:`Storm`."""
    return lambda *regions, vps=(0, 1): Storm(evidence, regions, vps)


KNOWN_ON_BASE = {
    "replaced_page_of_a_huge_page_is_what_the_child_gets": "C22: the whole huge page is mapped",
    "write_to_a_replaced_page_of_a_huge_page_reaches_the_vmm": "C22: the whole huge page is mapped",
    "removed_ram_is_unknown_to_the_hypervisor": "frames without access outlive a movable region",
    "refused_map_of_ram_is_an_error_and_no_warning": "C23: a failing fault of the child raises a WARN",
    "touch_of_ram_that_the_vmm_unmapped_is_no_warning": "C23: a failing fault of the child raises a WARN",
    "event_for_a_vp_that_is_not_there_does_nothing": "an irqfd's APIC id is looked up without a check",
    "event_whose_route_was_removed_does_nothing": "an irqfd without a route raises vector 0",
    "end_of_a_level_interrupt_to_one_vp_signals_the_resample_event": "the register page has no levels",
    "look_at_the_access_bitmap_changes_nothing": "no operation is taken for that of setting the bits",
    "traced_withdrawal_is_what_the_hypervisor_gave_back": "the trace leaves out the last batch",
    "waking_a_halted_vp_takes_no_sleeping_lock_in_hard_interrupt": "C21: a wait queue's lock is taken",
    "ring_of_a_doorbell_takes_no_sleeping_lock_in_hard_interrupt": "an eventfd is signalled there",
}
"""Defects of every kernel that was tried, which the embedded series does not touch. ``hvlab validate`` judges
them as any other; the project's own tests expect them to fail, and complain when they do not."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where nobody takes the outcomes from a report, a known defect is no failure of the lab."""
    if config.getoption("--hvlab-report"):
        return
    for item in items:
        why = KNOWN_ON_BASE.get(item.name.split("[")[0].removeprefix("test_"))
        if why:
            item.add_marker(pytest.mark.xfail(reason=why, strict=True))


WRONG_PAGES = "C16"
"""The claim that the driver maps pages which are not the BAR's."""


def no_page_of(records: tuple[LedgerRecord, ...], gfn: int, bar: range) -> LedgerRecord | None:
    """The last map call for the region at ``gfn``, if the hypervisor itself refused it and the driver had
    asked for pages that are not the BAR's."""
    calls = [r for r in records if r.words[1] >= gfn]
    if not calls or calls[-1].flags & RecordFlag.INJECTED or not calls[-1].status:
        return None
    return None if calls[-1].words[3] in bar else calls[-1]


@pytest.fixture
def mapped(
    request: pytest.FixtureRequest,
    lab: BaseLab,
    child: Vmm,
    slat: SlatProbe,
    ledger: LedgerProbe,
    evidence: Evidence,
) -> Callable[..., Mapped]:
    """Factory: create the partition once, then map (part of) a device's BAR into it.

    A kernel that asks for wrong pages may be refused: that decides claim C16, and no other. There is no
    region then, so scenarios of other claims have nothing to judge; ``through="devmem"`` is their way out.
    """
    mark = scenario_of(request.node)

    def refused(error: VmmError, partition: int, gfn: int, bar: range) -> None:
        if not ledger.seen or not lab.witness.sees_slat:
            return
        call = no_page_of(ledger.maps(partition), gfn, bar)
        if call is None:
            return
        wrong = f"the driver asks for SPA page {call.words[3]:#x}, which is no page of the BAR"
        evidence.add(
            f"ledger: MAP_GPA_PAGES gfn {call.words[1]:#x} SPA page {call.words[3]:#x} n {call.rep_count} "
            f"status {call.status:#x}; the BAR is at SPA page {bar.start:#x}"
        )
        if mark is not None and WRONG_PAGES in mark.claims:
            pytest.fail(f"{wrong}: the region is refused with {error.errno_name}", pytrace=False)
        raise AbilityMissing(f"no region to judge: {wrong} ({WRONG_PAGES})") from error

    def make(
        device: LabDevice,
        *,
        pages: int | None = None,
        first_page: int = 0,
        gfn: int = GFN,
        vps: int = 1,
        through: str = "vfio",
        writable: bool = True,
        host_writable: bool = True,
        mapped_pages: int = 0,
        executable: bool = False,
    ) -> Mapped:
        lab.passthrough(device)
        if not child.hello()["vps"]:
            child.create_partition(vps=vps)
        bar_spa = lab.bar_spa(device)
        count = pages if pages is not None else device.pages - first_page
        # Without a view of the hypervisor's side nobody asks for the partition.
        partition = lab.child_partition() if lab.witness.sees_children else 0
        try:
            if through == "vfio":
                region = child.map_bar(
                    device.bdf,
                    device.bar,
                    gfn,
                    count,
                    first_page=first_page,
                    writable=writable,
                    host_writable=host_writable,
                    mapped_pages=mapped_pages,
                    executable=executable,
                )
            else:
                address = (bar_spa + first_page) << 12
                region = child.map_physical(
                    address,
                    gfn,
                    count,
                    writable=writable,
                    host_writable=host_writable,
                    mapped_pages=mapped_pages,
                )
        except VmmError as e:
            refused(e, partition, gfn, range(bar_spa, bar_spa + device.pages))
            raise
        return Mapped(lab, child, device, region, partition, bar_spa, first_page, slat, evidence)

    return make
