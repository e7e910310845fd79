# SPDX-License-Identifier: GPL-2.0-or-later
"""One kernel's scenarios in several processes at once: where the other kernel needs no processor."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial

from lab.cache import remove_tree
from lab.model.result import ScenarioOutcome
from lab.progress import Progress, Together
from lab.validate.drive import NOTHING, DriveRequest, DriveResult, drive, nothing_selected
from lab.validate.exchange import Report

MAX_SHARES = 2
"""A guest has one busy thread; more of them than processors gain nothing, and each costs a boot."""


TAKEN = "taken"
"""The folder where processes note what they have taken."""


def shares_for(others: int) -> int:
    """How many processes a kernel gets while ``others`` kernels run too."""
    return max(1, min(MAX_SHARES, len(os.sched_getaffinity(0)) - others))


def drive_shared(
    request: DriveRequest,
    shares: int,
    progress: Progress,
    on_quick: Callable[[Report], None] | None = None,
    stop: threading.Event | None = None,
    turn: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> DriveResult:
    """As ``drive``, by ``shares`` processes side by side, each of which takes the next scenario that nobody
    has taken, and waits for its ``turn`` before it starts. What one of them raises ends the others."""
    if shares <= 1 or request.order:
        with turn():
            return drive(request, progress, on_quick, stop)
    halt = _Either(stop)
    quick = _Quick(shares, on_quick)
    told = Together(progress)
    taken = request.out / TAKEN
    remove_tree(taken)
    taken.mkdir(parents=True)

    def one(number: int) -> DriveResult:
        share = replace(request, share=number, together=taken)
        with turn():
            done = drive(share, told.part(f"part {number}"), partial(quick.done, number), halt)
        quick.done(number, done.report)
        return done

    try:
        with ThreadPoolExecutor(max_workers=shares) as pool:
            futures = [pool.submit(one, number) for number in range(1, shares + 1)]
            try:
                for future in as_completed(futures):
                    future.result()
            except BaseException:
                halt.set()
                raise
    finally:
        remove_tree(taken)
    results = [future.result() for future in futures]
    if not any(r.report.outcomes for r in results) and all(r.exit_status == NOTHING for r in results):
        raise nothing_selected(request)
    return DriveResult(
        report=merged([r.report for r in results]),
        exit_status=max(r.exit_status for r in results if r.exit_status != NOTHING),
        output="\n".join(r.output for r in results),
        wall=max(r.wall for r in results),
    )


def merged(reports: Sequence[Report]) -> Report:
    """What several shares report, as one. Complete only when all are."""
    whole = Report(
        outcomes=_in_order(reports),
        boots=[boot for r in reports for boot in r.boots],
        errors=[error for r in reports for error in r.errors],
        proofs=[proof for r in reports for proof in r.proofs],
        splats=[splat for r in reports for splat in r.splats],
        allowed=[entry for r in reports for entry in r.allowed],
        boot_failure=next((r.boot_failure for r in reports if r.boot_failure), None),
        cpu=sum(r.cpu for r in reports),
        quick_done=all(r.quick_done or r.complete for r in reports),
        complete=all(r.complete for r in reports),
    )
    for report in reports:
        whole.abilities.update(report.abilities)
    return whole


def _in_order(reports: Sequence[Report]) -> list[ScenarioOutcome]:
    """As one process alone would have reported them, whoever ran them."""
    place = {name: number for report in reports for number, name in enumerate(report.plan)}
    return sorted((o for r in reports for o in r.outcomes), key=lambda o: place.get(o.id, len(place)))


class _Either(threading.Event):
    """Set by itself, or by the event of whoever called."""

    def __init__(self, outer: threading.Event | None) -> None:
        super().__init__()
        self._outer = outer

    def is_set(self) -> bool:
        return super().is_set() or (self._outer is not None and self._outer.is_set())


class _Quick:
    """Tells of the quick set once, when all shares are through with their parts of it."""

    def __init__(self, shares: int, on_quick: Callable[[Report], None] | None) -> None:
        self._shares = shares
        self._on_quick = on_quick
        self._lock = threading.Lock()
        self._done: dict[int, Report] = {}

    def done(self, number: int, report: Report) -> None:
        """One share is through with it, or at its end."""
        with self._lock:
            if number in self._done:
                return
            self._done[number] = report
            last = len(self._done) == self._shares
        if last and self._on_quick is not None and any(r.quick_done for r in self._done.values()):
            self._on_quick(merged([self._done[n] for n in sorted(self._done)]))
