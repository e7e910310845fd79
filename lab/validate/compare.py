# SPDX-License-Identifier: GPL-2.0-or-later
"""The same kernels and scenarios on several machines, so that the stand-in is not its own yardstick."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from lab.judge import side_by_side
from lab.model.comparison import RUNNING, Comparison, MachineRuns
from lab.model.errors import BadInput
from lab.model.kernel import KernelImage
from lab.model.machine import MachineSpec
from lab.model.result import KernelRun
from lab.model.verdict import Verdict
from lab.progress import Progress
from lab.templates import find, load_machine, parameters, parse_params
from lab.validate import kernels
from lab.validate.drive import DriveRequest, drive
from lab.validate.kernels import Builder, Selectors
from lab.validate.runs import Runner, RunPlan
from lab.validate.sides import SideBuilder

MIN_MACHINES = 2


@dataclass(frozen=True, slots=True)
class CompareRequest:
    """What ``hvlab compare`` was asked for. ``params`` by machine, as ``K=V``."""

    selectors: Selectors
    machines: Mapping[str, tuple[str, ...]]
    out: Path
    quick: bool = False
    expression: str | None = None
    whole: bool = False


def split_params(machines: list[str], params: list[str]) -> dict[str, tuple[str, ...]]:
    """``K=V`` for every machine that has the parameter, ``MACHINE:K=V`` for one. Raises BadInput."""
    if len(set(machines)) != len(machines) or len(machines) < MIN_MACHINES:
        raise BadInput("compare needs at least two different machines", where="--machine")
    found: dict[str, list[str]] = {machine: [] for machine in machines}
    known = {machine: {p.name for p in parameters(find(machine))} for machine in machines}
    for param in params:
        head, sign, _ = param.partition("=")
        machine, colon, key = head.rpartition(":")
        if not sign:
            raise BadInput(f"{param!r} is not K=V", where="--param", hint="for example --param cpus=2")
        if colon and machine not in found:
            raise BadInput(f"{param!r} is for {machine!r}, which is not compared", where="--param")
        takers = [machine] if colon else [m for m in machines if key in known[m]]
        if not takers:
            raise BadInput(f"no machine here has the parameter {key!r}", where="--param")
        for taker in takers:
            found[taker].append(param.removeprefix(f"{taker}:"))
    return {machine: tuple(values) for machine, values in found.items()}


def load_machines(machines: Mapping[str, tuple[str, ...]]) -> dict[str, MachineSpec]:
    """Every machine's spec. Raises BadInput for one that no scenario can run on."""
    specs = {m: load_machine(m, parse_params(params)) for m, params in machines.items()}
    if len({spec.name for spec in specs.values()}) != len(specs):
        # Evidence lies in a folder of the machine's own name.
        raise BadInput("two of the machines have the same name", where="--machine", hint="change name in one")
    for name, spec in specs.items():
        if spec.hypervisor == "hyperv" or not spec.runs_children:
            hint = (
                "start it by its command line, then compare with --machine external"
                if spec.hypervisor == "hyperv"
                else "compare machines that run a child: mshv-root, kvm-root, external"
            )
            raise BadInput(f"no scenario can run on machine {name}", where="--machine", hint=hint)
    return specs


def compare(request: CompareRequest, progress: Progress) -> Comparison:
    """Run the scenarios everywhere and put the results beside each other. Raises LabError."""
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    request.out.mkdir(parents=True, exist_ok=True)
    specs = load_machines(request.machines)
    built: dict[str, KernelImage] = {}
    series_name = base_version = ""
    if any(spec.booted_by_lab for spec in specs.values()):
        series_name, base_version, built = _kernels(request, progress)
    machines = tuple(
        _booted(request, name, spec, built, progress)
        if spec.booted_by_lab
        else _running(request, name, spec, progress)
        for name, spec in specs.items()
    )
    rows = side_by_side.scenarios(machines)
    code, reasons = side_by_side.judge(machines, rows)
    return Comparison(
        series_name=series_name,
        base_version=base_version,
        machines=machines,
        scenarios=rows,
        exit_code=int(code),
        reasons=reasons,
        phases=tuple(progress.phases),
        started=started,
    )


def _kernels(request: CompareRequest, progress: Progress) -> tuple[str, str, dict[str, KernelImage]]:
    """Name of the series, version of the base, and the kernels by side."""
    if request.selectors.kernel is not None:
        image = kernels.prepare(request.selectors, progress)
        return "", image.release, {"base": image}
    cache = kernels.open_cache()
    series = kernels.read_series(request.selectors)
    with progress.phase("fetch"):
        source = kernels.fetch(request.selectors, series, cache, progress)
    sandbox = kernels.choose_sandbox(request.selectors)
    builder = Builder(request.selectors, cache, progress, sandbox, not request.whole)
    with progress.phase("build", "base"):
        base = builder.base(source)
    sides = SideBuilder(builder, base, source)
    if series is None:
        return "", str(source.version), {"base": sides.one(None, None, arm=True).image}
    with progress.phase("apply"):
        applied = kernels.apply(source, series, cache, progress)
    with progress.phase("build", "patched"):
        both = sides.both(series, applied)
    for note in both.notes:
        progress.note(note)
    return series.name, str(source.version), {"base": both.base.image, "patched": both.patched.image}


def _booted(
    request: CompareRequest,
    name: str,
    spec: MachineSpec,
    built: Mapping[str, KernelImage],
    progress: Progress,
) -> MachineRuns:
    """Both kernels side by side on one machine."""
    params = request.machines[name]
    runner = Runner(kernels.open_cache(), progress, name, params, request.selectors.qemu)
    progress.note(f"machine {name}")
    runner.images()

    def one(side: str) -> KernelRun:
        out = request.out / spec.name / side
        plan = RunPlan(side, built[side], out, quick=request.quick, expression=request.expression)
        return runner.run(plan)

    with ThreadPoolExecutor(max_workers=len(built)) as pool:
        pending = [pool.submit(one, side) for side in built]
        try:
            runs = tuple(future.result() for future in pending)
        except BaseException:
            runner.stop()
            raise
    return MachineRuns(name, spec.hypervisor, runs)


def _running(request: CompareRequest, name: str, spec: MachineSpec, progress: Progress) -> MachineRuns:
    """The kernel that runs on a machine of others."""
    driven = drive(
        DriveRequest(
            kernel=None,
            side=RUNNING,
            out=request.out / spec.name,
            machine=name,
            params=request.machines[name],
            quick=request.quick,
            expression=request.expression,
        ),
        progress,
    )
    report = driven.report
    boot = report.boots[0] if report.boots else {}
    why = tuple(report.errors) if boot else (*report.errors, "the machine was never reached")
    run = KernelRun(
        side=RUNNING,
        release=str(boot.get("release", "")),
        flavour="unknown",
        key="",
        verdict=Verdict.INCONCLUSIVE,
        reasons=why if report.complete else (*why, f"the scenario run ended early, see {driven.exit_status}"),
        outcomes=tuple(report.outcomes),
        abilities=report.abilities,
        failed_phase="" if boot else "ssh",
        splats=tuple(report.splats),
    )
    notes = ("detectors were not tripped on purpose there: a pass says less than on a machine of ours",)
    return MachineRuns(name, spec.hypervisor, (run,), (*notes, *boot.get("notes", ())))
