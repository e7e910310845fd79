# SPDX-License-Identifier: GPL-2.0-or-later
"""The fault plan: make hypercalls of the root fail while it runs."""

from __future__ import annotations

from lab.hypervisor import layout
from lab.hypervisor.layout import BLOCK
from lab.hypervisor.memory import Memory
from lab.model.errors import BadInput


class FaultHandle:
    """One fault in force. It stays until :meth:`clear`, also when its count is used up."""

    def __init__(self, memory: Memory, slot: int) -> None:
        self._memory = memory
        self._slot = slot
        self._final: int | None = None

    @property
    def hits(self) -> int:
        """Calls that this fault has hit so far."""
        if self._final is not None:
            return self._final
        return self._memory.u32(self._slot + layout.FAULT_HITS)

    @property
    def left(self) -> int:
        """Calls that it will still hit."""
        return 0 if self._final is not None else self._memory.u32(self._slot + layout.FAULT_COUNT)

    def clear(self) -> None:
        """Take the fault away; :attr:`hits` keeps its last value."""
        if self._final is None:
            self._memory.set_u32(self._slot + layout.CALL_ACTIVE, 0)
            self._final = self._memory.u32(self._slot + layout.FAULT_HITS)


class FaultPlan:
    """The slots of the control block. Faults planned by an earlier view are seen as taken."""

    def __init__(self, memory: Memory, block: int) -> None:
        self._memory = memory
        first = block + BLOCK["control.fault"]
        self._slots = [first + i * layout.FAULT.size for i in range(layout.FAULTS)]
        self._handles: dict[int, FaultHandle] = {}

    def inject(
        self,
        code: int,
        *,
        status: int,
        skip: int = 0,
        count: int = 1,
        complete: int | None = None,
        partition: int | None = None,
        gfn: int | range | None = None,
    ) -> FaultHandle:
        """Let ``skip`` matching calls of hypercall ``code`` pass, then answer ``count`` with ``status``.

        A call matches if its target is ``partition`` (any if None) and, for ``gfn``, if the frames
        it names overlap that frame or range. ``complete``: first perform that many repetitions of
        the call and report them as done (calls without repetitions are not performed). Raises
        BadInput for values that make no sense or when all slots are taken.
        """
        frames = frame_range(gfn)
        if not (0 <= status <= 0xFFFF and 0 <= code <= 0xFFFF) or skip < 0 or count < 1:
            raise BadInput(f"fault for call {code:#x}: status {status:#x}, skip {skip}, count {count}")
        if complete is not None and not 0 <= complete <= 0xFFF:
            raise BadInput(f"fault for call {code:#x}: complete {complete} is not a rep count")
        slot = self._free()
        wanted = layout.FAULT_COMPLETE_NONE if complete is None else complete
        target = layout.ANY_PARTITION if partition is None else partition
        self._memory.write(
            slot, layout.FAULT.pack(0, code, target, *frames, skip, count, status, wanted, 0, 0)
        )
        self._memory.set_u32(slot + layout.CALL_ACTIVE, 1)
        handle = self._handles[slot] = FaultHandle(self._memory, slot)
        return handle

    def clear(self) -> None:
        """Take all faults away, also those of the boot arguments."""
        for slot in self._slots:
            handle = self._handles.pop(slot, None)
            if handle is not None:
                handle.clear()
            self._memory.set_u32(slot + layout.CALL_ACTIVE, 0)

    def _free(self) -> int:
        for slot in self._slots:
            if not self._memory.u32(slot + layout.CALL_ACTIVE):
                return slot
        raise BadInput(f"all {layout.FAULTS} fault slots are taken", hint="clear() faults that are done")


def frame_range(gfn: int | range | None) -> tuple[int, int]:
    """First and last frame for a slot; any for None. BadInput for what is no range of frames."""
    if gfn is None:
        return layout.ANY_GFN
    if isinstance(gfn, int):
        return gfn, gfn
    if gfn.step != 1 or not len(gfn):
        raise BadInput(f"not a range of frames: {gfn}")
    return gfn[0], gfn[-1]
