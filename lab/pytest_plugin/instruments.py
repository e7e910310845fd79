# SPDX-License-Identifier: GPL-2.0-or-later
"""What a scenario holds in its hands: evidence, ledger, SLAT and kernel log of the running lab."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from lab.hypervisor import FaultHandle, Hold
from lab.hypervisor.holds import BUDGET as HOLD_BUDGET
from lab.hypervisor.names import HYPERCALLS
from lab.hypervisor.names import status as status_name
from lab.judge import ledger as judge_ledger
from lab.judge import slat as judge_slat
from lab.judge.ledger import Call
from lab.model.errors import GuestDied, NotObservable
from lab.model.ledger import LedgerRecord, LedgerSlice, RecordKind, SlatRun
from lab.pytest_plugin.recording import Recording
from lab.validate.base import BaseLab

_CODE = {name: code for code, name in HYPERCALLS.items()}


class Evidence:
    """What a person reads (``add``) and what base and patched are compared by (``observe``)."""

    def __init__(self, recording: Recording, out: Path | None) -> None:
        self._recording = recording
        self._out = out

    def add(self, text: str) -> None:
        """One line of evidence."""
        self._recording.evidence.append(text)

    def observe(self, key: str, value: Any) -> None:
        """A fact to compare. It must be equal in two boots of one kernel: no addresses of this boot."""
        self._recording.observations[key] = value
        self.add(f"{key} = {value}")

    def unseen(self, what: str) -> None:
        """Something that this machine does not show and that the scenario does without."""
        if what not in self._recording.unobserved:
            self._recording.unobserved.append(what)
            self.add(f"not observed here: {what}")

    def doubt(self, reason: str) -> None:
        """Something that keeps this scenario from a pass."""
        if reason not in self._recording.doubts:
            self._recording.doubts.append(reason)

    @property
    def failed(self) -> bool:
        """Whether the scenario has failed already."""
        return bool(self._recording.failures)

    def fail(self, reason: str, *, explains_hang: bool = False) -> None:
        """A defect found by a check that runs after the scenario's own code. What ``explains_hang`` goes
        before a hang: it is the cause, and where the CPUs were afterwards differs between two boots."""
        failures = self._recording.failures
        hung = explains_hang and self._recording.observations.get("died") == "driver-hang"
        if reason not in failures:
            failures.insert(0 if hung else len(failures), reason)

    def died(self, error: GuestDied) -> None:
        """The guest did not live to the end of the checks."""
        self._recording.error(error)

    @property
    def lost(self) -> bool:
        """Whether the scenario ended because the guest, or the driver in it, does not answer any more."""
        return "died" in self._recording.observations

    def allowed(self, entry: str, title: str) -> None:
        """A splat that an entry of the allow-list explains: told, never a failure."""
        self._recording.allowed.append((entry, title))
        self.add(f"allowed splat: {title} (allow-list: {entry})")

    def splat(self, ident: str) -> None:
        """An unexpected splat, by its stable id."""
        self._recording.splats.append(ident)

    def file(self, name: str, text: str) -> None:
        """Keep a longer piece of evidence as a file of its own, if there is an output folder."""
        if self._out is None:
            return
        folder = self._out / "evidence" / _safe(self._recording.scenario)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8", errors="replace")
        self._recording.files.append(str((folder / name).relative_to(self._out)))


class LedgerProbe:
    """The ledger since the scenario began. On a machine without one, whatever looks into it raises
    NotObservable; ``seen`` says so beforehand."""

    def __init__(self, lab: BaseLab) -> None:
        self._lab = lab
        self.seen = lab.witness.sees_ledger
        self.complete = lab.witness.sees_slat
        """Whether it is the hypervisor's own: with dispatches, intercepts and events, and every call."""
        self.start = lab.witness.position()

    def mark(self) -> int:
        """A position to look from later."""
        return self._lab.witness.position()

    def since(self, position: int | None = None) -> LedgerSlice:
        """Records after ``position`` (default: the scenario's start)."""
        return self._lab.witness.since(self.start if position is None else position)

    def hypercalls(self, name: str, position: int | None = None) -> tuple[LedgerRecord, ...]:
        """Hypercalls of one name (``MAP_GPA_PAGES``) after a position."""
        code = _CODE[name]
        self._need(name)
        records = self.since(position).records
        return tuple(r for r in records if r.kind is RecordKind.HYPERCALL and r.code == code)

    def maps(self, partition: int, position: int | None = None) -> tuple[LedgerRecord, ...]:
        """MAP_GPA_PAGES calls for one partition after a position."""
        self._need("MAP_GPA_PAGES")
        return tuple(judge_ledger.maps_of(self.since(position), partition))

    def unmaps(self, partition: int, position: int | None = None) -> tuple[LedgerRecord, ...]:
        """UNMAP_GPA_PAGES calls for one partition after a position."""
        self._need("UNMAP_GPA_PAGES")
        return tuple(judge_ledger.unmaps_of(self.since(position), partition))

    def calls(self, partition: int, position: int | None = None, gfns: range | None = None) -> list[Call]:
        """Map and unmap calls for one partition in order, batches of one request joined; with ``gfns``
        those that begin there."""
        self._need("MAP_GPA_PAGES")
        records = [
            record
            for record in self.since(position).records
            if record.kind is RecordKind.HYPERCALL
            and record.code in (_CODE["MAP_GPA_PAGES"], _CODE["UNMAP_GPA_PAGES"])
            and record.words[0] == partition
            and (gfns is None or record.words[1] in gfns)
        ]
        return judge_ledger.coalesce(judge_ledger.calls_seen(records))

    def expect(
        self,
        expected: Sequence[Call],
        partition: int,
        region: tuple[int, int],
        position: int | None = None,
        *,
        bar: tuple[int, int] | None = None,
    ) -> None:
        """Exactly these map and unmap calls for a region (first GFN, pages), in this order, and no other.

        AssertionError with the difference, in names (``bar``: its first SPA page and pages).
        """
        seen = self.calls(partition, position, range(region[0], region[0] + region[1]))
        lines = judge_ledger.diff(
            expected, seen, lambda call: judge_ledger.readable(call, region, bar, status_name)
        )
        if lines:
            raise AssertionError(
                f"the ledger is not as expected for partition {partition} (- expected, + seen):\n"
                + "\n".join(lines)
            )

    def inject(
        self,
        name: str,
        *,
        status: int,
        skip: int = 0,
        count: int = 1,
        complete: int | None = None,
        partition: int | None = None,
        gfns: tuple[int, int] | None = None,
    ) -> FaultHandle:
        """Make hypercall ``name`` fail; see lab.hypervisor.faults. Cleared after the scenario."""
        return self._lab.hypervisor.faults.inject(
            _CODE[name],
            status=status,
            skip=skip,
            count=count,
            complete=complete,
            partition=partition,
            gfn=range(*gfns) if gfns else None,
        )

    def hold(
        self,
        name: str,
        *,
        skip: int = 0,
        count: int = 1,
        partition: int | None = None,
        gfns: tuple[int, int] | None = None,
        budget: float = HOLD_BUDGET,
    ) -> Hold:
        """Keep hypercall ``name`` from completing; see lab.hypervisor.holds. Cleared after the scenario."""
        frames = range(*gfns) if gfns else None
        return self._lab.hypervisor.holds.arm(
            _CODE[name], partition=partition, gfn=frames, skip=skip, count=count, budget=budget
        )

    def _need(self, name: str) -> None:
        if not self._lab.witness.observes(name):
            raise NotObservable(f"{self._lab.witness.name} does not show {name}", where=self._lab.name)


class SlatProbe:
    """Second-level page tables of children, as the hypervisor has them now. NotObservable where nobody
    can look at them; ``seen`` says so beforehand."""

    def __init__(self, lab: BaseLab) -> None:
        self._lab = lab
        self.seen = lab.witness.sees_slat

    def runs(self, partition: int, gfns: range | None = None) -> tuple[SlatRun, ...]:
        """Mapped runs of a partition, cut to a GFN range if one is given."""
        runs = self._lab.hypervisor.slat(partition)
        if gfns is None:
            return tuple(runs)
        return tuple(judge_slat.clip(runs, gfns))

    def spa_of(self, partition: int, gfn: int) -> int | None:
        """SPA page number behind a GFN; None if it is not mapped for any access."""
        for run in self._lab.hypervisor.slat(partition):
            if run.gfn <= gfn < run.gfn + run.pages and not run.no_access:
                return run.spa + gfn - run.gfn
        return None

    def audit(
        self, partition: int, regions: Iterable[judge_slat.Region], windows: Sequence[tuple[int, int]] = ()
    ) -> list[str]:
        """Problems of a partition's SLAT against the live regions (empty: none)."""
        return judge_slat.audit(self._lab.hypervisor.slat(partition), list(regions), list(windows))

    def owners(self, spa: int) -> list[tuple[int, int]]:
        """Who maps this SPA page: (partition, GFN) pairs, the root left out."""
        return self._lab.hypervisor.owners(spa)


def _safe(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in name)
