# SPDX-License-Identifier: GPL-2.0-or-later
"""Defects behind a posted series, on real kernels: one is noticed, one is not, one cannot be tried."""

from __future__ import annotations

import io
from pathlib import Path

from lab import paths
from lab.model.nightly import BaseFound, BaseGuess, MutantFate, Variant, VariantTask
from lab.model.verdict import Verdict
from lab.nightly.variant import run_variant
from lab.progress import TextProgress
from lab.series.inbox import read_inbox, write_mbox

SERIES = "mshv-event-routes/v2"
NOTICED = "vector-off-by-one"
REACHED_BY_NOTHING = "statistics-of-the-first-vp"
OF_ANOTHER_SERIES = "nofull-ignored"


def test_a_variant_tells_which_defects_its_scenarios_notice(tmp_path: Path) -> None:
    inbox = read_inbox(str(paths.tests_dir() / "series" / "inbox"))
    write_mbox(next(s for s in inbox.series if s.id == SERIES), tmp_path / "series.mbox")
    mutants = (NOTICED, REACHED_BY_NOTHING, OF_ANOTHER_SERIES)
    task = VariantTask(
        id=f"{SERIES}/plain",
        series="series.mbox",
        base=BaseGuess(BaseFound.GIVEN, "the newest"),
        variant=Variant(mutants=mutants),
        folder="plain",
        expression="event_interrupts",
        reruns=0,
    )
    log = io.StringIO()
    result = run_variant(task, tmp_path, TextProgress(log))
    told = {m.id: m for m in result.mutants}
    print(log.getvalue(), *result.mutants, *result.notes, sep="\n")
    assert set(told) == set(mutants)
    assert (told[NOTICED].fate, told[REACHED_BY_NOTHING].fate) == (MutantFate.KILLED, MutantFate.SURVIVED)
    assert told[NOTICED].by.startswith("event_interrupts") and told[NOTICED].why
    assert told[OF_ANOTHER_SERIES].fate is MutantFate.UNDECIDED
    assert "does not apply" in told[OF_ANOTHER_SERIES].why
    assert result.verdict is Verdict.PASS, "defects of the lab's own are no matter of the verdict"
