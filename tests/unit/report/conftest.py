# SPDX-License-Identifier: GPL-2.0-or-later
"""A result that has a bit of everything, with text that no voice may let through unharmed."""

from __future__ import annotations

import pytest

from lab.judge.armed import required
from lab.judge.verdict import compare_runs, exit_code, series_verdict
from lab.model.claim import ClaimRow, ClaimTable, Finding, Standing
from lab.model.coverage import Coverage, CoveredFile
from lab.model.result import DetectorProof, KernelRun, PhaseTime, ScenarioOutcome, ValidateResult
from lab.model.verdict import Verdict

HOSTILE = '<script>alert("x")</script> & \x1b[31mred\x07 ]]> \ud800 '
ARMED = tuple(DetectorProof(name, fired=True, detail="seen") for name in required("plain"))
COVERAGE = Coverage(
    scope="changed lines",
    flavour="plain",
    files=(
        CoveredFile(
            "drivers/hv/mshv_regions.c",
            run=(10, 11, 12),
            not_run=(14, 15, 20),
            half=(11,),
            without_code=4,
            text={14: "\tif (a < b && c)", 15: "\t\treturn -EIO;", 20: HOSTILE},
            functions=("mshv_never",),
        ),
        CoveredFile("include/linux/mm.h", without_code=2, unmeasured="no profiled object has code of it"),
    ),
    scenarios=20,
    guests=3,
    lost=("unmapped_gpa_reaches_the_vmm: the guest is dead",),
    notes=("passed without counters and not with them: two_vps",),
)
CLAIMS = (
    ClaimRow(
        "C16",
        "MMIO is mapped at vm_pgoff " + HOSTILE,
        "wrong PFN",
        (
            Finding(Standing.REPRODUCED, "reads " + HOSTILE, "bar_pages", "plain", ("x" * 400, HOSTILE)),
            Finding(Standing.NOT_REPRODUCED, "3 deciding scenarios passed", "bar_pages", "plain"),
        ),
    ),
    ClaimRow("C15", "a stub", "build", (Finding(Standing.NOT_DECIDED, "no arm64 here"),) * 2),
)
LOCK = {
    "kind": "debian",
    "name": "linux-source-7.3",
    "version": "7.3.4-1~bpo13+1",
    "sha256": "00",
    "suite": "sid",
}


def outcome(
    scenario: str, claims: str, verdict: Verdict | None, why: str = "", *evidence: str, **seen: object
) -> ScenarioOutcome:
    return ScenarioOutcome(
        id=scenario,
        claims=tuple(claims.split()),
        verdict=verdict,
        reasons=(why,) if why else (),
        evidence=evidence,
        observations=seen or {"pages": 16},
        files=(f"evidence/{scenario}/ledger.txt",) if verdict is not None else (),
        seconds=0.4,
    )


def kernel(side: str, *outcomes: ScenarioOutcome, flavour: str = "plain", **more: object) -> KernelRun:
    verdict = Verdict.FAIL if any(o.verdict is Verdict.FAIL for o in outcomes) else Verdict.PASS
    return KernelRun(side, "7.3.4", flavour, "0123abcd", verdict, (), outcomes, ARMED, **more)  # type: ignore[arg-type]


@pytest.fixture
def result() -> ValidateResult:
    ok, bad, doubt = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
    wrong = "page 0 of the BAR leads to SPA page 0x20000000, not to BAR page 0"
    base = kernel(
        "base",
        outcome(
            "bar_pages_are_mapped_right",
            "C16",
            bad,
            wrong,
            *[f"map call {n}: spa 0x{n:08x}" for n in range(9)],
        ),
        outcome("region_removed_leaves_no_mapping", "C17", bad, "SLAT still maps GFN 0x100000", left=16),
        outcome("unmapped_gpa_reaches_the_vmm", "C8", ok),
        outcome("first_touch_of_page_n_maps_page_n", "C4 C7", None, "maps no MMIO on first touch"),
        outcome("injected_failure_leaks_nothing", "", bad, "leak", pages=1),
        outcome("still_broken", "C23", bad, "WARN_ONCE raised", splat="warning/x"),
        cached=True,
    )
    patched = kernel(
        "patched",
        outcome("bar_pages_are_mapped_right", "C16", ok, "", "all 16 pages read their own index"),
        outcome("region_removed_leaves_no_mapping", "C17", ok),
        outcome("unmapped_gpa_reaches_the_vmm", "C8", bad, HOSTILE * 6, HOSTILE, "x" * 400),
        outcome("first_touch_of_page_n_maps_page_n", "C4 C7", ok, "", "one map call for page 5"),
        outcome("injected_failure_leaks_nothing", "", bad, "another leak", pages=2),
        outcome("still_broken", "C23", bad, "WARN_ONCE raised", splat="warning/x"),
        outcome("two_vps_touch_one_page", "C6", doubt, "the ledger lost 12 records of this scenario"),
    )
    fixes = ("C16", "C17")
    pairs = compare_runs(base, patched, fixes=fixes, expects_changed=(), flavour="plain")
    judgement = series_verdict(pairs, patched, base, fixes)
    return ValidateResult(
        verdict=judgement.verdict,
        exit_code=int(exit_code(judgement, base)),
        reasons=judgement.reasons,
        series_name="mmio-on-demand",
        patches=("mshv: map MMIO on the first touch", "mshv: unmap MMIO regions " + HOSTILE),
        base_version="7.3.4",
        base_lock=LOCK,
        runs=(base, patched),
        scenarios=pairs,
        phases=(
            PhaseTime("fetch", "", 2.0, 0.4, "cached"),
            PhaseTime("apply", "", 0.3, 0.2),
            PhaseTime("build", "base", 610.0, 940.0, "from the cache"),
            PhaseTime("build", "patched", 15.0, 19.0),
            PhaseTime("drive", "patched", 20.0, 22.0, "20 scenarios, 3 boots"),
        ),
        notes=("the base is the newest kernel that the mirror offers",),
        execution="QEMU 7.2.22, TCG with one thread: because",
        fixes=fixes,
        reproduce=("hvlab validate tests/series/mmio-on-demand --base lock:base.lock",),
        started="2026-11-23T04:00:00+00:00",
        claims=ClaimTable(("7.3.4", "mmio-on-demand"), CLAIMS),
        coverage=COVERAGE,
    )


@pytest.fixture
def attachments() -> dict[str, str]:
    return {
        "patched/evidence/unmapped_gpa_reaches_the_vmm/ledger.txt": f"MAP gfn 0x100000\n{HOSTILE}\n",
        "base/evidence/bar_pages_are_mapped_right/ledger.txt": "MAP_GPA_PAGES spa 0x20000000",
        "patched/console.txt": "[    0.000000] Linux version 7.3.4",
    }
