# SPDX-License-Identifier: GPL-2.0-or-later
"""One test session: the kernel under test, the labs it boots, and what it reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest

from lab.hashing import digest
from lab.judge.armed import lacking
from lab.judge.splats import parse
from lab.machine.qemu import not_booted
from lab.model.errors import GuestDied, LabError, NotObservable
from lab.model.kernel import KernelImage
from lab.model.machine import MachineSpec
from lab.model.splat import HANGS, Splat
from lab.model.verdict import Verdict
from lab.progress import Progress, TextProgress
from lab.pytest_plugin.afterwards import whole_reports
from lab.pytest_plugin.instruments import Evidence
from lab.pytest_plugin.recording import AbilityMissing, Recording
from lab.pytest_plugin.scenario import ScenarioMark
from lab.templates import load_machine, parse_params
from lab.usage import cpu_seconds
from lab.validate import allowlist
from lab.validate.abilities import probe_abilities
from lab.validate.base import BaseLab
from lab.validate.bringup import BootRequest, Lab
from lab.validate.counters import CounterKeeper
from lab.validate.exchange import ReportWriter, outcome_to_json, read_kernel_file
from lab.validate.external import ExternalLab
from lab.validate.forks import boot_or_fork
from lab.validate.kernels import Selectors, embedded_series, prepare
from lab.validate.stuck import explain

BOOTS = 3
"""Boots in a row that complain before a kernel is taken for one that always does."""


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """The plugin's options, typed."""

    selectors: Selectors
    kernel_file: Path | None
    machine: str
    params: tuple[str, ...]
    out: Path | None
    report: Path | None
    keep: str | None
    counters: Path | None = None
    fresh: bool = False
    together: Path | None = None
    """A folder of processes that run scenarios together, where they note what each has taken."""

    @classmethod
    def from_config(cls, config: pytest.Config) -> SessionOptions:
        """Read pytest's options."""
        get = config.getoption
        series = get("--hvlab-series")
        if series is None and not get("--hvlab-stock"):
            series = str(embedded_series())
        return cls(
            selectors=Selectors(
                series=series,
                base=get("--hvlab-base"),
                tree=get("--hvlab-tree"),
                flavour=get("--hvlab-flavour"),
                kernel=get("--hvlab-kernel"),
                qemu=get("--hvlab-qemu"),
                sandboxed=not get("--hvlab-no-sandbox"),
            ),
            kernel_file=get("--hvlab-kernel-file"),
            machine=get("--hvlab-machine"),
            params=tuple(get("--hvlab-param")),
            out=get("--hvlab-out"),
            report=get("--hvlab-report"),
            keep=get("--hvlab-keep"),
            counters=get("--hvlab-counters"),
            fresh=get("--hvlab-fresh"),
            together=get("--hvlab-together"),
        )


class Boot(NamedTuple):
    """What makes one boot differ from another of the same kernel under test."""

    unfixed: bool
    kernel_args: tuple[str, ...]
    extra_args: tuple[str, ...]

    @classmethod
    def of(cls, mark: ScenarioMark) -> Boot:
        """The boot that a scenario wants."""
        return cls(mark.unfixed, mark.kernel_args, mark.extra_args)


class LabSession:
    """Boots labs when asked, at most one at a time; reuses one while it stays clean."""

    def __init__(self, options: SessionOptions) -> None:
        self.options = options
        self.progress: Progress = TextProgress()
        self.recording: Recording | None = None
        self.out = options.out
        self._writer = ReportWriter(options.report) if options.report else None
        self._counters = CounterKeeper(options.counters) if options.counters else None
        self._kernel: KernelImage | None = None
        self._broken: LabError | None = None
        self._lab: BaseLab | None = None
        self._lab_boot = Boot.of(ScenarioMark())
        self._abilities: dict[Boot, dict[str, bool]] = {}
        self._always_complains = False
        self._keep = options.keep
        self.quick_left = 0

    def note(self, text: str) -> None:
        """Say something to whoever watches the run."""
        self.progress.note(text)

    def kernel(self) -> KernelImage:
        """The kernel under test, built or taken from the cache once per session."""
        if self._broken is not None:
            raise self._broken
        if self._kernel is None:
            try:
                if self.options.kernel_file is not None:
                    self._kernel = read_kernel_file(self.options.kernel_file)
                else:
                    self._kernel = prepare(self.options.selectors, self.progress)
            except LabError as e:
                self._broken = e
                raise
        return self._kernel

    def lab(self, mark: ScenarioMark) -> BaseLab:
        """A clean booted lab with the scenario's kernel arguments that has what it needs.

        Raises AbilityMissing, GuestDied (boot), LabError. The first boot that fails is the *cause*
        that every later scenario with the same arguments ends in, without booting again.
        """
        if self._broken is not None:
            raise self._broken
        if mark.detectors and (absent := lacking(self._flavour(), mark.detectors)):
            raise AbilityMissing(f"this flavour has no detector {', '.join(absent)}")
        boot = Boot.of(mark)
        if (known := self._abilities.get(boot)) is not None:
            _require(mark, known)
        if self._lab is not None and mark.kernel_args and not self._lab.spec.booted_by_lab:
            raise _no_boot(mark.kernel_args)
        if self._lab is not None:
            self._late_splats(self._lab)
            if self._lab_boot != boot or not self._lab.clean():
                if self._lab.why_not_clean:
                    self.note(f"booting anew: {self._lab.why_not_clean}")
                self.drop()
        if self._lab is None:
            self._lab = self._boot_quietly(boot)
            self._lab_boot = boot
        if boot.unfixed and not mark.needs:
            return self._lab  # a probe would set off the very complaint that the scenario is to see
        abilities = self._abilities.get(boot)
        if abilities is None:
            try:
                abilities = probe_abilities(self._lab, mark.kernel_args)
            except LabError as e:
                # A kernel that does not survive the simplest access fails every scenario for this cause.
                # A tripwire says nothing about the kernel: the scenario is run once more.
                self.explain(e)
                if not (isinstance(e, GuestDied) and e.kind == "tripwire"):
                    self._broken = e
                    self._blame_splats(self._lab)
                self.drop()
                raise
            self._abilities[boot] = abilities
            if self._writer:
                self._writer.write("abilities", **abilities)
        _require(mark, abilities)
        return self._lab

    def _flavour(self) -> str:
        spec = load_machine(self.options.machine, parse_params(self.options.params))
        return self.kernel().flavour if spec.booted_by_lab else self.options.selectors.flavour

    def _boot_quietly(self, boot: Boot) -> BaseLab:
        """A lab whose kernel has not complained: one that did is thrown away, as its first report may have
        disarmed what would report the next one. A kernel that complains at every boot is taken as it
        is: which of its detectors are dead then is told by their proofs."""
        for left in range(BOOTS - 1, -1, -1):
            lab = self._boot(boot)
            lines = lab.kernel_log.since(0)
            lab.log_mark = lab.kernel_log.mark()
            titles = [s.title for s in self._report_splats(lab, whole_reports(lab, lines), "boot")]
            if not titles or self._always_complains:
                return lab
            if left:
                self.note(f"the kernel complains at boot: {titles[0]}; booting anew")
                lab.close()
        self._always_complains = True
        self.note(f"the kernel complained at {BOOTS} boots in a row; going on with the last one")
        return lab

    def _late_splats(self, lab: BaseLab) -> None:
        """What the kernel complains of after the scenario that ran last was judged: such a lab is no clean
        start, and the scenario that comes next is not to blame."""
        lines = lab.kernel_log.unread(lab.log_mark)
        lab.log_mark = lab.kernel_log.mark()
        for splat in self._report_splats(lab, whole_reports(lab, lines), "between scenarios"):
            lab.spoil(f"kernel splat: {splat.title}")

    def _blame_splats(self, lab: BaseLab) -> None:
        """What the kernel complains of at an access that it does not survive is a finding of the scenario
        that asked for it, and tells more than how the access ended."""
        lines = lab.kernel_log.unread(lab.log_mark)
        lab.log_mark = lab.kernel_log.mark()
        lines = whole_reports(lab, lines)
        splats = [s for s in self._report_splats(lab, lines, "first access") if s.cls not in HANGS]
        if splats and self.recording is not None:
            self.recording.splats += [splat.id for splat in splats]
            self.recording.failures.append(f"kernel splat ({splats[0].cls.value}): {splats[0].title}")

    def _report_splats(self, lab: BaseLab, lines: list[str], where: str) -> list[Splat]:
        """Report splats outside every scenario; those that nothing explains."""
        found = []
        for splat in parse(lines):
            if entry := allowlist.explains(splat, lab.kernel):
                self.note(f"allowed splat ({where}): {splat.title} (allow-list: {entry.name})")
                self._allowed(entry.name, splat.title, where)
                continue
            found.append(splat)
            self.note(f"kernel splat ({where}): {splat.title}")
            if self._writer:
                self._writer.write("splat", id=splat.id, title=splat.title, text=list(splat.text))
        return found

    def _allowed(self, entry: str, title: str, where: str) -> None:
        if self._writer:
            self._writer.write("allowed", entry=entry, title=title, where=where)

    def _boot(self, boot: Boot) -> BaseLab:
        kernel_args = (*boot.kernel_args, *boot.extra_args)
        spec = load_machine(self.options.machine, parse_params(self.options.params))
        if not spec.booted_by_lab:
            return self._connect(spec, boot.kernel_args)
        kernel = self.kernel()
        if boot.unfixed and kernel.unfixed is not None:
            kernel = kernel.unfixed
        request = BootRequest(
            machine=spec,
            kernel=kernel,
            qemu=self.options.selectors.qemu,
            kernel_args=kernel_args,
            template=self.options.machine,
            params=parse_params(self.options.params),
            # A lab that may be left up must not die with this process.
            name=self._keep,
            detached=self._keep is not None,
        )
        lab: BaseLab
        if self._counters:
            self._counters.booted()
        for attempt in (1, 2):
            try:
                bring = Lab.boot if self.options.fresh else boot_or_fork
                lab = bring(request, self.progress)
                break
            except GuestDied as e:
                if e.kind == "tripwire" and attempt == 1:
                    self.note(f"{e.what}; booting once more")
                    continue
                if boot.unfixed:
                    raise  # that is no kernel under test
                self._broken = e
                if self._writer:
                    self._writer.write("boot-failure", kind=e.kind, phase=e.phase, text=str(e))
                raise
        if self._writer:
            self._writer.write("boot", args=list(kernel_args), seconds=lab.boot_seconds, release=lab.release)
        return lab

    def _connect(self, spec: MachineSpec, kernel_args: tuple[str, ...]) -> BaseLab:
        """A machine that the lab does not boot: whatever runs there is the kernel under test."""
        if kernel_args:
            raise _no_boot(kernel_args)
        if spec.ssh is None:
            raise not_booted(spec)
        try:
            lab = ExternalLab.connect(spec, self.progress)
        except LabError as e:
            self._broken = e
            if self._writer:
                self._writer.write("error", text=str(e))
            raise
        if self._writer:
            self._writer.write("boot", args=[], seconds=0.0, release=lab.release, notes=list(lab.notes))
        return lab

    def explain(self, error: BaseException) -> None:
        """Add to a hang in the driver where the running lab is stuck; that lab is used no more."""
        if isinstance(error, GuestDied) and self._lab is not None:
            explain(self._lab, error)
            self._lab.spoil(f"{error.kind}: {error.what}")

    def drop(self) -> None:
        """Shut the current lab down; the next scenario boots a fresh one."""
        if self._lab is not None:
            self._late_splats(self._lab)
            self._lab.close()
        self._lab = None

    def plan(self, scenarios: Sequence[str]) -> None:
        """Tell in which order one process alone would run them."""
        if self._writer:
            self._writer.write("plan", ids=list(scenarios))

    def take(self, scenario: str) -> bool:
        """Whether it is for this process to run, of those that run scenarios together. Ask once."""
        assert self.options.together is not None
        try:
            (self.options.together / digest(scenario)).touch(exist_ok=False)
        except FileExistsError:
            self._one_less()
            return False
        return True

    def _one_less(self) -> None:
        self.quick_left -= 1
        if self.quick_left == 0 and self._writer:
            self._writer.write("quick")

    def finish_scenario(self) -> bool:
        """Judge and report what the scenario recorded. Whether it failed."""
        recording, self.recording = self.recording, None
        if recording is None:
            return False
        for title, text in recording.texts:
            Evidence(recording, self.out).file(f"{title.replace(' ', '-')}.txt", text + "\n")
        outcome = recording.outcome()
        for entry, title in recording.allowed:
            self._allowed(entry, title, outcome.id)
        if self._counters and (self._lab is not None or outcome.verdict is not None):
            self._counters.take(self._lab, outcome.id)
        if self._writer:
            self._writer.write("outcome", **outcome_to_json(outcome))
        self._one_less()
        if outcome.verdict is Verdict.FAIL and self._keep and self._lab is not None:
            self._lab.keep()
            self.note(f"{outcome.id} failed: the lab stays up, see hvlab ssh --name {self._keep}")
            self._keep = None
            self._lab = None
        return outcome.verdict is Verdict.FAIL

    def finish(self) -> None:
        """End of the run: no lab stays, the report is complete."""
        self.drop()
        if self._writer:
            self._writer.write("end", cpu=cpu_seconds())
            self._writer.close()
            self._writer = None

    def close(self) -> None:
        """Last resort when the run never finished properly."""
        self.drop()
        if self._writer:
            self._writer.close()
            self._writer = None


def _no_boot(kernel_args: tuple[str, ...]) -> NotObservable:
    return NotObservable(f"a boot with {' '.join(kernel_args)}: the lab does not boot this machine")


def _require(mark: ScenarioMark, abilities: dict[str, bool]) -> None:
    unknown = [n for n in mark.needs if n not in abilities]
    if unknown:
        raise NotObservable(f"whether this kernel has the ability {', '.join(unknown)}")
    missing = [n for n in mark.needs if not abilities.get(n, False)]
    if missing:
        raise AbilityMissing(f"this kernel lacks the ability {', '.join(missing)}")
