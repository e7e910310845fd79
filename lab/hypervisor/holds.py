# SPDX-License-Identifier: GPL-2.0-or-later
"""Holds: keep a hypercall of the root from completing until the host lets it go.

Nobody waits in the stand-in: the held call comes again and again, so its LP takes interrupts where the root
has them on, and other LPs make hypercalls. A hold ends by itself when its budget is over, also when this
process is gone::

    hold = view.holds.arm(0x4C, partition=child, budget=5.0)
    ...
    seen = hold.wait(2.0)
    ...
    hold.release()
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from lab.hypervisor import layout, names
from lab.hypervisor.faults import frame_range
from lab.hypervisor.layout import BLOCK, HoldState
from lab.hypervisor.memory import Memory
from lab.model.errors import BadInput, LabUnavailable

BUDGET = 10.0
"""Seconds after which a held call goes on by itself, unless told otherwise."""
ALWAYS = 2**32 - 1
"""As a count: hold every call that matches, one after the other."""
_POLL = 0.001


@dataclass(frozen=True, slots=True)
class HoldReport:
    """A hold as it is now. ``generation`` counts the calls held so far, ``expired`` those of them that went
    on because their budget was over; the rest is about the newest call and means nothing before the first.

    ``lp`` made it; ``interrupts_on``: the root takes interrupts there meanwhile; ``reentries``: times it came
    again; ``begun``: TSC; ``rip`` and ``rsp`` of the caller. ``let_go``: it was released, and its LP has
    not come by since.
    """

    state: HoldState
    generation: int
    expired: int
    lp: int
    interrupts_on: bool
    reentries: int
    begun: int
    rip: int
    rsp: int
    let_go: bool = False

    @property
    def held(self) -> bool:
        """Whether a call is held now, and is to be."""
        return self.state is HoldState.HELD and not self.let_go


class Hold:
    """One slot in force, until :meth:`clear`."""

    def __init__(self, memory: Memory, slot: int, what: str) -> None:
        self._memory = memory
        self._slot = slot
        self._what = what
        self._final: HoldReport | None = None

    def look(self) -> HoldReport:
        """How it stands; after :meth:`clear` how it stood then."""
        return self._final or self._read()

    def wait(self, budget: float, watch: Callable[[], None] = lambda: None) -> HoldReport:
        """Wait until a call is held. ``watch`` raises when the machine is dead. LabUnavailable when none
        comes within ``budget`` seconds."""
        return self._until(lambda seen: seen.held, budget, watch, f"no {self._what} is held")

    def release(self) -> None:
        """Let the call go that is held now; the next one that matches is held again while the count lasts."""
        seen = self.look()
        if seen.held and self._final is None:
            self._memory.set_u32(self._slot + layout.HOLD_RELEASE, seen.generation)

    def wait_released(self, budget: float, watch: Callable[[], None] = lambda: None) -> HoldReport:
        """Wait until the stand-in has let go what was released. LabUnavailable when it has not within
        ``budget`` seconds: its LP does not run."""
        what = f"{self._what} is still held"
        return self._until(lambda seen: seen.state is not HoldState.HELD, budget, watch, what)

    def clear(self) -> None:
        """Take the hold away; a call that it holds goes on."""
        if self._final is None:
            self._final = self._read()
            self._memory.set_u32(self._slot + layout.CALL_ACTIVE, 0)

    def _read(self) -> HoldReport:
        # The state is written last: what comes with it is at least as new.
        state = HoldState(self._memory.u32(self._slot + layout.HOLD_STATE))
        entry = layout.HOLD.unpack(self._memory.read(self._slot, layout.HOLD.size))
        release, generation, expired, lp, interrupts_on, reentries, begun, rip, rsp = entry[8], *entry[10:18]
        let_go = state is HoldState.HELD and release == generation
        return HoldReport(
            state, generation, expired, lp, bool(interrupts_on), reentries, begun, rip, rsp, let_go
        )

    def _until(
        self, wanted: Callable[[HoldReport], bool], budget: float, watch: Callable[[], None], what: str
    ) -> HoldReport:
        deadline = time.monotonic() + budget
        while not wanted(seen := self.look()):
            watch()
            if time.monotonic() > deadline:
                raise LabUnavailable(f"{what} within {budget:g} s", hint="see hvlab ledger for what came")
            time.sleep(_POLL)
        return seen


class HoldPlan:
    """The slots of the control block. Holds armed by an earlier view are seen as taken."""

    def __init__(self, memory: Memory, block: int, tsc_hz: int) -> None:
        """``tsc_hz``: ticks of the stand-in's clock in a second."""
        self._memory = memory
        self._tsc_hz = tsc_hz
        first = block + BLOCK["control.hold"]
        self._slots = [first + i * layout.HOLD.size for i in range(layout.HOLDS)]
        self._holds: dict[int, Hold] = {}

    def arm(
        self,
        code: int,
        *,
        partition: int | None = None,
        gfn: int | range | None = None,
        skip: int = 0,
        count: int = 1,
        budget: float = BUDGET,
    ) -> Hold:
        """Let ``skip`` matching calls of hypercall ``code`` pass, then hold ``count``, one after the other.

        A call matches if its target is ``partition`` (any if None) and, for ``gfn``, if the frames that it
        names overlap that frame or range. A call that matches while another is held passes. ``budget``:
        seconds of the machine's time, which stands still with it, after which a call goes on by itself.
        BadInput for values that make no sense or when all slots are taken.
        """
        frames = frame_range(gfn)
        what = names.hypercall(code)
        if not 0 <= code <= 0xFFFF or not 0 <= skip < 2**32 or not 1 <= count < 2**32:
            raise BadInput(f"hold of call {code:#x}: skip {skip}, count {count}")
        if not 0 < budget <= layout.HOLD_LONGEST:
            hint = f"more than 0, at most {layout.HOLD_LONGEST}"
            raise BadInput(f"hold of {what}: a budget of {budget:g} s", hint=hint)
        slot = self._free()
        target = layout.ANY_PARTITION if partition is None else partition
        ticks = max(1, int(budget * self._tsc_hz))
        entry = (0, code, target, *frames, ticks, skip, count, 0, HoldState.ARMED, *[0] * 11)
        self._memory.write(slot, layout.HOLD.pack(*entry))
        self._memory.set_u32(slot + layout.CALL_ACTIVE, 1)
        hold = self._holds[slot] = Hold(self._memory, slot, what)
        return hold

    def clear(self) -> None:
        """Take all holds away; whatever is held goes on."""
        for slot in self._slots:
            hold = self._holds.pop(slot, None)
            if hold is not None:
                hold.clear()
            self._memory.set_u32(slot + layout.CALL_ACTIVE, 0)

    def _free(self) -> int:
        """A slot that nobody uses; rather one whose last call has gone on already."""
        free = [s for s in self._slots if not self._memory.u32(s + layout.CALL_ACTIVE)]
        if not free:
            raise BadInput(f"all {layout.HOLDS} holds are taken", hint="clear() those that are done")
        idle = [s for s in free if self._memory.u32(s + layout.HOLD_STATE) != HoldState.HELD]
        return (idle or free)[0]
