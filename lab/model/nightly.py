# SPDX-License-Identifier: GPL-2.0-or-later
"""A nightly run: series as they came in by mail, what was judged of each version, and what changed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lab.model.series import Patch
from lab.model.verdict import Verdict, worst


@dataclass(frozen=True, slots=True)
class MailProblem:
    """A mail that could not be used. ``where`` names file and line, ``message_id`` is "" if unknown."""

    where: str
    what: str
    hint: str = ""
    message_id: str = ""


@dataclass(frozen=True, slots=True)
class Repair:
    """A hunk of a patch recovered from a quoted reply, and what had to be mended in it.

    ``patch`` counts from 1; ``hunk`` is ``FILE:LINE`` of the hunk in the old file, or ``all of it`` where
    ``what`` is about the patch: each recovered patch has such an entry.
    """

    patch: int
    hunk: str
    what: str


@dataclass(frozen=True, slots=True)
class InboxSeries:
    """One version of one series, as found in an inbox.

    ``topic`` is the same for all versions and fit for a folder's name. ``key`` is the digest of what the
    patches say (``lab.series.patches``), so that a resent series is known again; "" where it is not whole.
    ``problem`` says why the series cannot be judged (a missing patch, a damaged one); "" when it can.
    ``repairs`` are hunks that were recovered from a quoted reply; ``linked`` says what ties this version
    to the others of its topic (``change-id``, ``in-reply-to``, ``subject``).
    """

    topic: str
    version: int
    title: str
    author: str
    date: str
    message_id: str
    patches: tuple[Patch, ...]
    key: str
    change_id: str = ""
    base_commit: str = ""
    cover: str = ""
    linked: str = ""
    repairs: tuple[Repair, ...] = ()
    problem: str = ""
    where: str = ""

    @property
    def id(self) -> str:
        """``TOPIC/vN``."""
        return f"{self.topic}/v{self.version}"


@dataclass(frozen=True, slots=True)
class Inbox:
    """All series of an inbox, oldest version first within a topic, and the mails that are no use."""

    series: tuple[InboxSeries, ...]
    problems: tuple[MailProblem, ...] = ()


class BaseFound(StrEnum):
    """How a series' base was found, best first."""

    GIVEN = "given"
    BASE_COMMIT = "base-commit"
    BLOBS = "blobs"
    APPLIES = "applies"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class BaseGuess:
    """What a series is tried on. ``base`` is for ``--base``, ``tree`` for ``--tree``; at most one is set.

    ``how`` is a sentence for people. With ``found`` NONE neither is set: nothing fits.
    """

    found: BaseFound
    how: str
    base: str = ""
    tree: str = ""


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to run a series: flavour, machine template, its parameters, arguments of the root's kernel."""

    flavour: str = "plain"
    machine: str = "mshv-root"
    params: tuple[str, ...] = ()
    kernel_args: tuple[str, ...] = ()
    budget: float = 1800.0
    """Seconds of wall time until the variant is given up."""
    coverage: bool = False
    """Measure which changed lines run: all scenarios once more, on a kernel with counters."""
    mutants: tuple[str, ...] = ()
    """Mutants of the driver that are put behind the series, one at a time: do the scenarios notice?"""

    @property
    def id(self) -> str:
        """Fit for a folder's name: ``plain``, ``debug+hv_nofull_mmio``, ``plain@kvm-root``."""
        text = self.flavour + "".join(f"+{word}" for word in (*self.kernel_args, *self.params))
        if self.machine != "mshv-root":
            text += f"@{self.machine}"
        return "".join(c if c.isalnum() or c in "+-_.@=" else "-" for c in text)


@dataclass(frozen=True, slots=True)
class VariantTask:
    """One variant of one series, as it is handed to whoever runs it, on this host or another.

    ``series`` is an mbox file and ``folder`` where the result goes, both relative to the folder of the file
    that this record is kept in. ``expression`` is as pytest's -k; ``reruns`` is how often a failure is
    rerun under each kind of seed; ``seed`` is what the first run is made under.
    """

    id: str
    """``TOPIC/vN/VARIANT``."""
    series: str
    base: BaseGuess
    variant: Variant
    folder: str
    expression: str = ""
    reruns: int = 3
    seed: int = 1
    jobs: int = 0
    qemu: str = ""
    sandboxed: bool = True
    quarantine: str = ""
    """The quarantine file, as ``series``; "" for none."""
    claims: str = ""
    """The series' claims file, as ``series``; "" for none."""
    key: str = ""
    """What the patches in ``series`` say: a result for other patches is none of this task."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One static check of one patch (counted from 1), with all patches before it applied.

    ``name`` is ``build:FLAVOUR``, ``W=1``, ``MSHV_ROOT=n``, ``HYPERV=n``, ``arm64``, ``checkpatch``,
    ``sparse``... ``lines`` are what this patch added to what the patches before it, and the base, had to
    say. INCONCLUSIVE with the reason in ``note`` where the check could not be made.
    """

    name: str
    patch: int
    verdict: Verdict
    lines: tuple[str, ...] = ()
    note: str = ""
    seconds: float = 0.0
    advisory: bool = False
    """A matter of style: told, and never a reason for the series' verdict."""


@dataclass(frozen=True, slots=True)
class Rate:
    """``hits`` failures in ``tries`` reruns; ``low`` and ``high`` bound the probability (Wilson, 95 %)."""

    hits: int
    tries: int
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario of one variant on both sides. ``change`` is a ``lab.model.verdict.Change``.

    ``base`` and ``patched`` are None where that side did not run it. ``counts`` is what it says about the
    series (``lab.report.view.counts_as``); None: nothing. ``evidence`` and ``files`` (relative to the
    variant's folder) are the patched kernel's, or base's where it did not run.
    """

    id: str
    claims: tuple[str, ...]
    base: Verdict | None
    patched: Verdict | None
    change: str
    counts: Verdict | None = None
    reasons: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    splats: tuple[str, ...] = ()
    seconds: float = 0.0
    rerun_same: Rate | None = None
    """Rerun on the patched kernel under the same seed."""
    rerun_new: Rate | None = None
    """Rerun under new seeds."""
    culprit: int = 0
    """The first patch (counted from 1) with which it fails; 0 unknown, or nothing to look for."""
    quarantined: str = ""
    """Why its failure does not count, from the quarantine file; "" when it does."""


@dataclass(frozen=True, slots=True)
class ClaimState:
    """What a variant says about one review claim: ``reproduced``, ``not reproduced``, ``not decided``."""

    id: str
    title: str
    base: str
    patched: str


class MutantFate(StrEnum):
    """What became of a defect that was put behind a series on purpose."""

    KILLED = "killed"
    SURVIVED = "survived"
    UNDECIDED = "not decided"


@dataclass(frozen=True, slots=True)
class MutantState:
    """A mutant of the driver behind a series. ``by`` is who noticed (a scenario, ``build``, ``boot``,
    ``splat``), ``why`` what was seen, or why nothing can be said."""

    id: str
    kind: str
    fate: MutantFate
    by: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of one phase of one variant (``lab.model.result.PhaseTime``)."""

    name: str
    side: str
    wall: float
    cpu: float


@dataclass(frozen=True, slots=True)
class VariantResult:
    """What became of one variant of one series. ``folder`` (relative to the output) holds its
    result.json, report.html and evidence; ``host`` is where it ran.

    ``failed_phase`` names the phase in which the patched kernel ended before any scenario, with
    ``evidence`` from it, and ``culprit`` the patch it is put down to (0: unknown). ``lost`` says why
    there is no result at all (budget, host died twice, runner broke): the verdict is then inconclusive.
    """

    variant: Variant
    verdict: Verdict
    reasons: tuple[str, ...] = ()
    base_version: str = ""
    release: str = ""
    scenarios: tuple[Scenario, ...] = ()
    claims: tuple[ClaimState, ...] = ()
    timings: tuple[Timing, ...] = ()
    changed_lines: tuple[int, int] | None = None
    """Changed lines that ran, of how many; None where nobody measured."""
    mutants: tuple[MutantState, ...] = ()
    failed_phase: str = ""
    evidence: tuple[str, ...] = ()
    culprit: int = 0
    splats: tuple[str, ...] = ()
    """Ids of splats outside every scenario."""
    detectors: tuple[tuple[str, bool], ...] = ()
    """Detectors of the patched kernel, and whether they fired when tripped."""
    execution: str = ""
    reproduce: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    wall: float = 0.0
    cpu: float = 0.0
    host: str = ""
    folder: str = ""
    lost: str = ""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as before. ``kind`` is ``scenario``, ``claim``, ``splat``, ``check``,
    ``coverage``, ``mutant`` or ``time``; ``better`` None where that is no question of good or bad."""

    kind: str
    id: str
    variant: str
    before: str
    now: str
    better: bool | None = None


@dataclass(frozen=True, slots=True)
class Delta:
    """A version against the one before it. ``range_diff`` is git's own, "" where it cannot be made."""

    before: int
    differences: tuple[Difference, ...] = ()
    range_diff: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class VersionReport:
    """Everything known of one version of one series."""

    series: InboxSeries
    base: BaseGuess
    checks: tuple[CheckResult, ...] = ()
    variants: tuple[VariantResult, ...] = ()
    delta: Delta | None = None
    finished: str = ""
    key: str = ""
    """Everything that decided this report: the series' content, its base, the variants, the lab."""

    @property
    def verdict(self) -> Verdict:
        """The worst of its parts. A series that cannot be judged at all is inconclusive, one that is
        damaged in itself (no base takes it) fails."""
        if self.series.problem:
            return Verdict.INCONCLUSIVE
        parts = [v.verdict for v in self.variants]
        parts += [c.verdict for c in self.checks if not c.advisory]
        return worst(parts)


@dataclass(frozen=True, slots=True)
class NightlyReport:
    """One nightly: what was looked at, what was done and what was skipped because it was done before.

    ``versions`` holds all known versions, judged now or earlier; ``judged`` and ``skipped`` are ids
    (``TOPIC/vN``) of this run. ``wall`` and ``cpu`` in seconds, children included.
    """

    started: str
    finished: str
    versions: tuple[VersionReport, ...]
    judged: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    problems: tuple[MailProblem, ...] = ()
    hosts: tuple[str, ...] = ()
    wall: float = 0.0
    cpu: float = 0.0
    lab: str = ""
    """Version of the lab that wrote this."""
