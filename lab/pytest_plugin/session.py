# SPDX-License-Identifier: GPL-2.0-or-later
"""One test session: the kernel under test, the labs it boots, and what it reports."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.judge.armed import lacking
from lab.judge.splats import parse
from lab.machine.qemu import not_booted
from lab.model.errors import GuestDied, LabError, NotObservable
from lab.model.kernel import KernelImage
from lab.model.machine import MachineSpec
from lab.model.verdict import Verdict
from lab.progress import Progress, TextProgress
from lab.pytest_plugin.instruments import Evidence
from lab.pytest_plugin.recording import AbilityMissing, Recording
from lab.pytest_plugin.scenario import ScenarioMark
from lab.templates import load_machine, parse_params
from lab.usage import cpu_seconds
from lab.validate.abilities import probe_abilities
from lab.validate.base import BaseLab
from lab.validate.bringup import BootRequest
from lab.validate.counters import CounterKeeper
from lab.validate.exchange import ReportWriter, outcome_to_json, read_kernel_file
from lab.validate.external import ExternalLab
from lab.validate.forks import boot_or_fork
from lab.validate.kernels import Selectors, embedded_series, prepare
from lab.validate.stuck import explain


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
        )


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
        self._lab_args: tuple[str, ...] = ()
        self._abilities: dict[tuple[str, ...], dict[str, bool]] = {}
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
        if (known := self._abilities.get(mark.kernel_args)) is not None:
            _require(mark, known)
        if self._lab is not None and mark.kernel_args and not self._lab.spec.booted_by_lab:
            raise _no_boot(mark.kernel_args)
        if self._lab is not None and (self._lab_args != mark.kernel_args or not self._lab.clean()):
            if self._lab.why_not_clean:
                self.note(f"booting anew: {self._lab.why_not_clean}")
            self.drop()
        if self._lab is None:
            self._lab = self._boot(mark.kernel_args)
            self._lab_args = mark.kernel_args
        abilities = self._abilities.get(mark.kernel_args)
        if abilities is None:
            try:
                abilities = probe_abilities(self._lab, mark.kernel_args)
            except LabError as e:
                # A kernel that does not survive the simplest access fails every scenario for this cause.
                # A tripwire says nothing about the kernel: the scenario is run once more.
                self.explain(e)
                if not (isinstance(e, GuestDied) and e.kind == "tripwire"):
                    self._broken = e
                self.drop()
                raise
            self._abilities[mark.kernel_args] = abilities
            if self._writer:
                self._writer.write("abilities", **abilities)
        _require(mark, abilities)
        return self._lab

    def _flavour(self) -> str:
        spec = load_machine(self.options.machine, parse_params(self.options.params))
        return self.kernel().flavour if spec.booted_by_lab else self.options.selectors.flavour

    def _boot(self, kernel_args: tuple[str, ...]) -> BaseLab:
        spec = load_machine(self.options.machine, parse_params(self.options.params))
        if not spec.booted_by_lab:
            return self._connect(spec, kernel_args)
        request = BootRequest(
            machine=spec,
            kernel=self.kernel(),
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
                lab = boot_or_fork(request, self.progress)
                break
            except GuestDied as e:
                if e.kind == "tripwire" and attempt == 1:
                    self.note(f"{e.what}; booting once more")
                    continue
                self._broken = e
                if self._writer:
                    self._writer.write("boot-failure", kind=e.kind, phase=e.phase, text=str(e))
                raise
        lines = lab.kernel_log.since(0)
        lab.log_mark = lab.kernel_log.mark()
        for splat in parse(lines):
            self.note(f"kernel splat at boot: {splat.title}")
            if self._writer:
                self._writer.write("splat", id=splat.id, title=splat.title, text=list(splat.text))
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
            self._lab.close()
        self._lab = None

    def finish_scenario(self) -> bool:
        """Judge and report what the scenario recorded. Whether it failed."""
        recording, self.recording = self.recording, None
        if recording is None:
            return False
        for title, text in recording.texts:
            Evidence(recording, self.out).file(f"{title.replace(' ', '-')}.txt", text + "\n")
        outcome = recording.outcome()
        if self._counters and (self._lab is not None or outcome.verdict is not None):
            self._counters.take(self._lab, outcome.id)
        if self._writer:
            self._writer.write("outcome", **outcome_to_json(outcome))
        self.quick_left -= 1
        if self.quick_left == 0 and self._writer:
            self._writer.write("quick")
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
