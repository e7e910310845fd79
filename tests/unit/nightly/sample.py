# SPDX-License-Identifier: GPL-2.0-or-later
"""One nightly that has a bit of everything, for all who turn such a report into something.

Three topics of two versions each: ``mmio-on-demand`` (failures with a culprit, a lost variant, a delta, text
that no voice may let through unharmed), ``vp-lifetime`` (v1 does not build, v2 passes) and ``irqfd-rework``
(a flaky scenario, one in quarantine, a repaired hunk; v2 cannot be judged).
"""

from __future__ import annotations

from lab.model import nightly as n
from lab.model.series import Patch
from lab.model.verdict import Change, Verdict

PASS, FAIL, DOUBT = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
HOSTILE = '<script>alert("x")</script> & \x1b[31mred\x07 ]]> # SKIP'
AUTHOR = "Ada Root <ada@example.org>"
REGIONS = "drivers/hv/mshv_regions.c"
ROOT = "drivers/hv/mshv_root_main.c"
IRQFD = "drivers/hv/mshv_eventfd.c"
FAULT = "gpf/general-protection-fault-in-mshv_vp_run/8475a2ca"
SLEEP = "atomic-sleep/sleeping-function-called-from-invalid-context-in-mshv_isr/4da4e729"
LEAK = "kmemleak/memory-leak-in-mshv_region_create/0badcafe"
PLAIN = n.Variant()
DEBUG = n.Variant(flavour="debug", budget=3600.0)
NO_MMIO = n.Variant(kernel_args=("hv_nofull_mmio",))
KVM = n.Variant(machine="kvm-root", params=("memory=4G",))


def patch(topic: str, version: int, number: int, total: int, subject: str, file: str) -> Patch:
    """A patch mail with one hunk. Its Message-ID is ``<TOPIC-vN-M@example.org>``."""
    message_id = f"<{topic}-v{version}-{number}@example.org>"
    tag = f"PATCH v{version} {number}/{total}" if version > 1 else f"PATCH {number}/{total}"
    raw = (
        f"From: {AUTHOR}\nDate: Tue, {version} Dec 2026 10:0{number}:00 +0000\n"
        f"Subject: [{tag}] {subject}\nMessage-ID: {message_id}\n"
        f"In-Reply-To: <{topic}-v{version}-0@example.org>\n\n"
        f"Say why, in the {version}. version.\n\nSigned-off-by: {AUTHOR}\n---\n"
        f"diff --git a/{file} b/{file}\n--- a/{file}\n+++ b/{file}\n"
        f"@@ -{number * 10},3 +{number * 10},4 @@ static int mshv_do(void)\n"
        f" \tint ret;\n \n+\tret = mshv_step({number}, {version});\n \treturn ret;\n-- \n2.47.0\n"
    )
    return Patch(subject, AUTHOR, message_id, raw.encode(), (file,))


def series(
    topic: str, version: int, title: str, subjects: tuple[tuple[str, str], ...], **more: object
) -> n.InboxSeries:
    """``subjects`` are pairs of a subject and the file that the patch touches."""
    total = len(subjects)
    return n.InboxSeries(
        topic=topic,
        version=version,
        title=title,
        author=AUTHOR,
        date=f"2026-12-0{version}T10:00:00+00:00",
        message_id=f"<{topic}-v{version}-0@example.org>",
        patches=tuple(
            patch(topic, version, number, total, subject, file)
            for number, (subject, file) in enumerate(subjects, 1)
        ),
        key=f"{sum(map(ord, topic)) * 7919 + version:016x}",
        where="inbox.mbox",
        **more,  # type: ignore[arg-type]
    )


def scenario(
    name: str,
    base: Verdict | None,
    patched: Verdict | None,
    change: Change,
    counts: Verdict | None = PASS,
    claims: str = "",
    **more: object,
) -> n.Scenario:
    return n.Scenario(
        id=name,
        claims=tuple(claims.split()),
        base=base,
        patched=patched,
        change=change.value,
        counts=counts,
        files=(f"patched/evidence/{name}/ledger.txt", f"patched/evidence/{name}/console.txt"),
        seconds=more.pop("seconds", 0.4),  # type: ignore[arg-type]
        **more,  # type: ignore[arg-type]
    )


def times(build: float, boot: float = 9.0, drive: float = 20.0) -> tuple[n.Timing, ...]:
    return (
        n.Timing("apply", "", 0.3, 0.2),
        n.Timing("build", "base", 1.5, 0.9),
        n.Timing("build", "patched", build, build * 1.8),
        n.Timing("boot", "patched", boot, boot * 1.1),
        n.Timing("drive", "patched", drive, drive * 1.2),
    )


def variant(
    where: n.InboxSeries, what: n.Variant, verdict: Verdict, *scenarios: n.Scenario, **more: object
) -> n.VariantResult:
    timings: tuple[n.Timing, ...] = more.pop("timings", times(40.0))  # type: ignore[assignment]
    values: dict[str, object] = {
        "base_version": "7.3.4",
        "release": "7.3.4-hvlab",
        "detectors": (("lockdep", True), ("kasan", True)) if what.flavour == "debug" else (("oops", True),),
        "execution": "QEMU 10.1.0, TCG with one thread: the host has no nested virtualization",
        "reproduce": (f"hvlab validate {where.topic}.mbox --base debian:7.3 --flavour {what.flavour}",),
        "timings": timings,
        "wall": round(sum(t.wall for t in timings), 3),
        "cpu": round(sum(t.cpu for t in timings), 3),
        "host": "local",
        "folder": f"{where.topic}/v{where.version}/{what.id}",
    }
    return n.VariantResult(what, verdict, scenarios=scenarios, **(values | more))  # type: ignore[arg-type]


def check(name: str, number: int, verdict: Verdict, *lines: str, **more: object) -> n.CheckResult:
    return n.CheckResult(name, number, verdict, lines, **({"seconds": 3.5} | more))  # type: ignore[arg-type]


# mmio-on-demand: v1 maps a wrong page and leaks; v2 mends that, and sleeps where it must not.

_MMIO = (
    ("mshv: Map MMIO on the first touch", REGIONS),
    ("mshv: Unmap MMIO regions when they go", REGIONS),
    ("mshv: Let the VMM ask for it", ROOT),
)
MMIO_1 = series(
    "mmio-on-demand",
    1,
    "mshv: MMIO on demand",
    _MMIO[:2],
    base_commit="8f0a1b2c3d4e5f60718293a4b5c6d7e8f9000001",
    cover="This maps MMIO when a guest touches it first.",
    change_id="20261201-mmio-on-demand-5f0c",
)
MMIO_2 = series(
    "mmio-on-demand",
    2,
    "mshv: MMIO on demand",
    _MMIO,
    base_commit="8f0a1b2c3d4e5f60718293a4b5c6d7e8f9000001",
    cover="Changes since v1:\n- map the right page (Rev Iewer)\n- a third patch",
    change_id="20261201-mmio-on-demand-5f0c",
    linked="change-id",
)
_WRONG = "page 0 of the BAR leads to SPA page 0x20000000, not to BAR page 0"
MMIO_V1 = n.VersionReport(
    series=MMIO_1,
    base=n.BaseGuess(
        n.BaseFound.BASE_COMMIT, "the cover letter names the base commit", tree="linux@8f0a1b2c"
    ),
    checks=(
        check("build:plain", 1, PASS),
        check("build:plain", 2, PASS),
        check("W=1", 1, PASS),
        check("W=1", 2, FAIL, f"{REGIONS}:20: warning: variable 'left' set but not used"),
        check("checkpatch", 1, FAIL, "WARNING: line length of 104 exceeds 100 columns", advisory=True),
        check("checkpatch", 2, PASS, advisory=True),
        check("arm64", 1, DOUBT, note="no compiler for arm64 on this host"),
    ),
    variants=(
        variant(
            MMIO_1,
            PLAIN,
            FAIL,
            scenario(
                "bar_pages_are_mapped_right",
                PASS,
                FAIL,
                Change.REGRESSED,
                FAIL,
                "C16",
                reasons=(_WRONG,),
                evidence=(_WRONG, "map call 1: spa 0x20000000"),
                rerun_same=n.Rate(3, 3, 0.438, 1.0),
                rerun_new=n.Rate(3, 3, 0.438, 1.0),
                culprit=1,
                seconds=1.2,
            ),
            scenario(
                "region_removed_leaves_no_mapping",
                FAIL,
                FAIL,
                Change.STILL_FAILING,
                FAIL,
                "C17",
                reasons=("SLAT still maps GFN 0x100000",),
                evidence=("left: 16 pages", HOSTILE),
                culprit=2,
            ),
            scenario("unmapped_gpa_reaches_the_vmm", PASS, PASS, Change.SAME, claims="C8"),
            scenario("first_touch_of_page_n_maps_page_n", None, PASS, Change.NEW, claims="C4 C7"),
            scenario(
                "guest_sees_an_iommu",
                None,
                None,
                Change.NOT_APPLICABLE,
                None,
                reasons=("this machine has no IOMMU",),
                seconds=0.0,
            ),
            reasons=("bar_pages_are_mapped_right passes on base and fails on the patched kernel",),
            claims=(
                n.ClaimState("C16", "MMIO is mapped at vm_pgoff", "not reproduced", "reproduced"),
                n.ClaimState("C17", "unmap leaves entries behind", "reproduced", "reproduced"),
            ),
            changed_lines=(41, 60),
            mutants=(
                n.MutantState(
                    "leaked-region", "leak", n.MutantFate.KILLED, "region_removed_leaves_no_mapping"
                ),
            ),
        ),
        variant(
            MMIO_1,
            DEBUG,
            FAIL,
            scenario(
                "bar_pages_are_mapped_right",
                PASS,
                FAIL,
                Change.REGRESSED,
                FAIL,
                "C16",
                reasons=(_WRONG,),
                evidence=(_WRONG,),
                culprit=1,
            ),
            scenario("unmapped_gpa_reaches_the_vmm", PASS, PASS, Change.SAME, claims="C8"),
            reasons=("bar_pages_are_mapped_right passes on base and fails on the patched kernel",),
            claims=(n.ClaimState("C16", "MMIO is mapped at vm_pgoff", "not reproduced", "reproduced"),),
            splats=(LEAK,),
            timings=times(95.0, 22.0, 60.0),
        ),
        variant(
            MMIO_1,
            KVM,
            PASS,
            scenario("unmapped_gpa_reaches_the_vmm", PASS, PASS, Change.SAME, claims="C8"),
            host="10.0.0.7",
        ),
    ),
    finished="2026-12-01T12:00:00+00:00",
    key="1111aaaa",
)
MMIO_V2 = n.VersionReport(
    series=MMIO_2,
    base=n.BaseGuess(
        n.BaseFound.BASE_COMMIT, "the cover letter names the base commit", tree="linux@8f0a1b2c"
    ),
    checks=(
        check("build:plain", 1, PASS),
        check("build:plain", 2, PASS),
        check("build:plain", 3, PASS),
        check("W=1", 1, PASS),
        check("W=1", 2, PASS),
        check("W=1", 3, PASS),
        check("checkpatch", 1, PASS, advisory=True),
        check("checkpatch", 2, PASS, advisory=True),
        check("checkpatch", 3, FAIL, "CHECK: Alignment should match open parenthesis", advisory=True),
        check("arm64", 1, DOUBT, note="no compiler for arm64 on this host"),
    ),
    variants=(
        variant(
            MMIO_2,
            PLAIN,
            PASS,
            scenario("bar_pages_are_mapped_right", PASS, PASS, Change.SAME, claims="C16", seconds=1.1),
            scenario("region_removed_leaves_no_mapping", FAIL, PASS, Change.FIXED, claims="C17"),
            scenario("unmapped_gpa_reaches_the_vmm", PASS, PASS, Change.SAME, claims="C8"),
            scenario("first_touch_of_page_n_maps_page_n", None, PASS, Change.NEW, claims="C4 C7"),
            scenario(
                "guest_sees_an_iommu",
                None,
                None,
                Change.NOT_APPLICABLE,
                None,
                reasons=("this machine has no IOMMU",),
                seconds=0.0,
            ),
            claims=(
                n.ClaimState("C16", "MMIO is mapped at vm_pgoff", "not reproduced", "not reproduced"),
                n.ClaimState("C17", "unmap leaves entries behind", "reproduced", "not reproduced"),
            ),
            changed_lines=(66, 71),
            mutants=(
                n.MutantState("leaked-region", "leak", n.MutantFate.SURVIVED),
                n.MutantState(
                    "leaf-is-one-page", "wrong PFN", n.MutantFate.KILLED, "bar_pages_are_mapped_right"
                ),
                n.MutantState("no-fault-in", "error path", n.MutantFate.UNDECIDED, why=HOSTILE),
            ),
        ),
        variant(
            MMIO_2,
            DEBUG,
            FAIL,
            scenario("bar_pages_are_mapped_right", PASS, PASS, Change.SAME, claims="C16"),
            scenario(
                "unmapped_gpa_reaches_the_vmm",
                PASS,
                FAIL,
                Change.REGRESSED,
                FAIL,
                "C8",
                reasons=("new splat: sleeping function called from invalid context",),
                evidence=("BUG: sleeping function called from invalid context", "in mshv_isr", HOSTILE),
                splats=(SLEEP,),
                rerun_same=n.Rate(3, 3, 0.438, 1.0),
                rerun_new=n.Rate(2, 3, 0.208, 0.939),
                culprit=3,
            ),
            reasons=("unmapped_gpa_reaches_the_vmm passes on base and fails on the patched kernel",),
            claims=(n.ClaimState("C16", "MMIO is mapped at vm_pgoff", "not reproduced", "not reproduced"),),
            timings=times(240.0, 23.0, 61.0),
        ),
        n.VariantResult(
            KVM,
            DOUBT,
            reasons=("the budget of 1800 s ran out",),
            wall=1800.0,
            cpu=210.0,
            host="10.0.0.7",
            folder="mmio-on-demand/v2/" + KVM.id,
            lost="the budget of 1800 s ran out while drive was under way",
        ),
        variant(
            MMIO_2,
            NO_MMIO,
            PASS,
            scenario("bar_pages_are_mapped_right", PASS, PASS, Change.SAME, claims="C16"),
        ),
    ),
    delta=n.Delta(
        before=1,
        differences=(
            n.Difference("scenario", "bar_pages_are_mapped_right", "plain", "fail", "pass", True),
            n.Difference("scenario", "region_removed_leaves_no_mapping", "plain", "fail", "pass", True),
            n.Difference("claim", "C16", "plain", "reproduced", "not reproduced", True),
            n.Difference("claim", "C17", "plain", "reproduced", "not reproduced", True),
            n.Difference("coverage", "changed lines run", "plain", "41 of 60", "66 of 71", True),
            n.Difference(
                "mutant",
                "leaked-region",
                "plain",
                "killed by region_removed_leaves_no_mapping",
                "survived",
                False,
            ),
            n.Difference("scenario", "bar_pages_are_mapped_right", "debug", "fail", "pass", True),
            n.Difference(
                "scenario", "unmapped_gpa_reaches_the_vmm", "debug", "pass", "fail (now and then)", False
            ),
            n.Difference("claim", "C16", "debug", "reproduced", "not reproduced", True),
            n.Difference("splat", LEAK, "debug", "seen", "not seen", True),
            n.Difference("splat", SLEEP, "debug", "not seen", "seen", False),
            n.Difference("time", "build (patched)", "debug", "95.0 s", "240.0 s", False),
            n.Difference("check", "W=1 patch 2", "", "fail, 1 line", "pass", True),
            n.Difference("check", "checkpatch patch 1", "", "fail, 1 line", "pass", True),
            n.Difference("check", "checkpatch patch 3", "", "not made", "fail, 1 line", False),
        ),
        range_diff=(
            "1:  1a2b3c4 ! 1:  5d6e7f8 mshv: Map MMIO on the first touch\n"
            "    @@ drivers/hv/mshv_regions.c: static int mshv_do(void)\n"
            "     \tint ret;\n"
            "     \n"
            "    -+\tret = mshv_step(1, 1);\n"
            "    ++\tret = mshv_step(1, 2);\n"
            "     \treturn ret;\n"
            "2:  9a8b7c6 = 2:  0f1e2d3 mshv: Unmap MMIO regions when they go\n"
            "-:  ------- > 3:  4c5b6a7 mshv: Let the VMM ask for it\n"
        ),
        note=f"{KVM.id} has no result now: the budget of 1800 s ran out while drive was under way; "
        "plain+hv_nofull_mmio was not run before",
    ),
    finished="2026-12-02T12:00:00+00:00",
    key="2222bbbb",
)

# vp-lifetime: v1 does not build, v2 passes.

VP_1 = series("vp-lifetime", 1, "mshv: Hold a VP while it runs", (("mshv: Hold a VP while it runs", ROOT),))
VP_2 = series(
    "vp-lifetime",
    2,
    "mshv: Hold a VP while it runs",
    (("mshv: Hold a VP while it runs", ROOT), ("mshv: Count who holds it", ROOT)),
    linked="in-reply-to",
)
_BLOBS = n.BaseGuess(
    n.BaseFound.BLOBS, "all 3 blobs that the series names are Linux 7.3.4's", base="debian:7.3"
)
VP_V1 = n.VersionReport(
    series=VP_1,
    base=_BLOBS,
    checks=(
        check("build:plain", 1, FAIL, f"{ROOT}:10: error: implicit declaration of function 'mshv_step'"),
    ),
    variants=(
        n.VariantResult(
            PLAIN,
            FAIL,
            reasons=("the patched kernel does not build",),
            base_version="7.3.4",
            timings=(n.Timing("apply", "", 0.3, 0.2), n.Timing("build", "patched", 12.0, 20.0)),
            failed_phase="build",
            evidence=(
                f"{ROOT}:10:8: error: implicit declaration of function 'mshv_step'",
                "make: *** [all] Error 2",
            ),
            culprit=1,
            reproduce=("hvlab validate vp-lifetime.mbox --base debian:7.3",),
            wall=12.3,
            cpu=20.2,
            host="local",
            folder="vp-lifetime/v1/plain",
        ),
    ),
    finished="2026-12-01T12:30:00+00:00",
    key="3333cccc",
)
VP_V2 = n.VersionReport(
    series=VP_2,
    base=_BLOBS,
    checks=(
        check("build:plain", 1, PASS),
        check("build:plain", 2, PASS),
        check("sparse", 1, PASS, advisory=True),
    ),
    variants=(
        variant(
            VP_2,
            PLAIN,
            PASS,
            scenario("vp_outlives_its_file", FAIL, PASS, Change.FIXED, claims="C23", seconds=2.5),
            scenario("two_vps_touch_one_page", PASS, PASS, Change.SAME, claims="C6", seconds=3.0),
            claims=(n.ClaimState("C23", "a VP is freed while it runs", "reproduced", "not reproduced"),),
            changed_lines=(12, 12),
            notes=("passed without counters and not with them: two_vps_touch_one_page",),
        ),
    ),
    delta=n.Delta(
        before=1,
        differences=(
            n.Difference("scenario", "reaches the scenarios", "plain", "ended in build", "yes", True),
            n.Difference("claim", "C23", "plain", "not decided", "not reproduced"),
            n.Difference("check", "build:plain patch 1", "", "fail, 1 line", "pass", True),
        ),
        note="plain ended in build before; there is no range-diff: patch 1/1 of v1: does not apply",
    ),
    finished="2026-12-02T12:30:00+00:00",
    key="4444dddd",
)

# irqfd-rework: v1 has a flaky scenario and one in quarantine; of v2 a patch is missing.

_IRQFD = (("mshv: Rework irqfd teardown", IRQFD), ("mshv: Wait for the last eventfd", IRQFD))
IRQFD_1 = series(
    "irqfd-rework",
    1,
    "mshv: Rework irqfd",
    _IRQFD,
    repairs=(n.Repair(2, f"{IRQFD}:20", "two lines were joined by the mail program"),),
)
IRQFD_2 = series(
    "irqfd-rework",
    2,
    "mshv: Rework irqfd",
    _IRQFD[:1],
    linked="subject",
    problem="patch 2/2 is missing",
)
IRQFD_V1 = n.VersionReport(
    series=IRQFD_1,
    base=n.BaseGuess(n.BaseFound.APPLIES, "it applies to Linux 7.3.4 with an offset", base="debian:7.3"),
    checks=(check("build:plain", 1, PASS), check("build:plain", 2, PASS)),
    variants=(
        variant(
            IRQFD_1,
            PLAIN,
            DOUBT,
            scenario(
                "irqfd_fires_once_per_write",
                PASS,
                FAIL,
                Change.REGRESSED,
                DOUBT,
                "C31",
                reasons=("2 interrupts for 1 write",),
                evidence=("write 1: vector 0x40 twice", "fails now and then: see the reruns"),
                rerun_same=n.Rate(0, 3, 0.0, 0.562),
                rerun_new=n.Rate(2, 6, 0.097, 0.700),
                seconds=4.0,
            ),
            scenario(
                "irqfd_teardown_ends_in_time",
                PASS,
                FAIL,
                Change.REGRESSED,
                None,
                reasons=("teardown took 12 s",),
                quarantined="known to be slow under TCG, until 2027-01-31",
                seconds=12.0,
            ),
            scenario(
                "ioeventfd_reaches_the_vmm",
                PASS,
                DOUBT,
                Change.UNDECIDED,
                DOUBT,
                reasons=("ledger lost 12 records",),
            ),
            scenario("irqfd_of_a_dead_partition", PASS, PASS, Change.SAME),
            reasons=("irqfd_fires_once_per_write fails in 2 of 6 reruns under new seeds",),
            splats=(FAULT,),
        ),
    ),
    finished="2026-12-01T13:00:00+00:00",
    key="5555eeee",
)
IRQFD_V2 = n.VersionReport(
    series=IRQFD_2,
    base=n.BaseGuess(n.BaseFound.NONE, "nothing was tried: the series is not whole"),
    finished="2026-12-02T13:00:00+00:00",
    key="6666ffff",
)

VERSIONS = (MMIO_V1, MMIO_V2, VP_V1, VP_V2, IRQFD_V1, IRQFD_V2)
REPORT = n.NightlyReport(
    started="2026-12-02T10:30:00+00:00",
    finished="2026-12-02T13:10:00+00:00",
    versions=VERSIONS,
    judged=("mmio-on-demand/v2", "vp-lifetime/v2", "irqfd-rework/v2"),
    skipped=("mmio-on-demand/v1", "vp-lifetime/v1", "irqfd-rework/v1"),
    problems=(
        n.MailProblem(
            "inbox.mbox:812", "the diff is damaged or cut short", "fetch the original", "<bad@example.org>"
        ),
        n.MailProblem("inbox.mbox:990", "not a mail: no header", ""),
    ),
    hosts=("local", "10.0.0.7"),
    wall=9600.0,
    cpu=14200.0,
    lab="0.9.0",
)
