# SPDX-License-Identifier: GPL-2.0-or-later
"""One variant of one series: judged, its failures rerun and put down to a patch, and written to its folder.

    python -m lab.nightly.variant TASK.json

reads the record of a VariantTask and leaves ``variant.json`` (a VariantResult) in the task's folder, beside
result.json, report.html, junit.xml, summary.txt and the evidence. It exits with 0 whenever it has written a
result, whatever that says.

result.json and the other voices tell the run as it was; ``variant.json`` also knows what reruns, the
quarantine file and the search for the culprit have found.
"""

from __future__ import annotations

import platform
import shlex
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lab.machine.qemu import choose_accel, describe, find_qemu
from lab.model.errors import BadInput, LabError
from lab.model.nightly import Timing, Variant, VariantResult, VariantTask
from lab.model.result import ValidateResult
from lab.model.verdict import Verdict
from lab.nightly import quarantine, store
from lab.nightly.convert import from_result
from lab.nightly.examine import examine
from lab.nightly.mutated import mutated
from lab.nightly.outputs import write_reports
from lab.progress import Progress, TextProgress
from lab.race.judging import RecipesUnderTest
from lab.race.recipes import load_all, recipes_dir
from lab.templates import load_machine, parse_params
from lab.unwind import unwind_on_signals
from lab.usage import cpu_seconds
from lab.validate.kernels import Selectors
from lab.validate.walk import ValidateRequest, validate

__all__ = ["from_result", "run_variant"]

FILE = "variant.json"
KERNEL_ARGS = "kernel_args"
MARGIN = 20.0
"""Seconds of a variant's budget that are left for ending guests and writing the result."""


def run_variant(task: VariantTask, at: Path, progress: Progress) -> VariantResult:
    """Judge one variant and write everything to its folder. ``at`` is what the task's paths are relative to.

    Never raises LabError: what stopped it is ``lost`` then. The result is in the folder as soon as the
    scenarios are through, so that a budget that ends during reruns costs no more than those.
    """
    began, cpu = time.monotonic(), cpu_seconds()
    folder = (at / task.folder).resolve()

    def spent(result: VariantResult) -> VariantResult:
        return replace(
            result,
            timings=tuple(Timing(p.name, p.side, p.wall, p.cpu) for p in progress.phases),
            wall=round(time.monotonic() - began, 2),
            cpu=round(cpu_seconds() - cpu, 2),
            host=platform.node(),
            folder=task.folder,
        )

    try:
        entries = quarantine.load(at / task.quarantine) if task.quarantine else ()
        request = request_of(task, at)
        execution = _execution(request)
        result = replace(validate(request, progress), execution=execution, reproduce=(command_of(task),))
        write_reports(result, folder)
        told = spent(from_result(result, task.variant))
        store.save(folder / FILE, told)
        deadline = began + task.variant.budget - MARGIN
        told = spent(_closer(task, request, result, told, entries, deadline, progress))
        if task.variant.mutants:
            store.save(folder / FILE, told)
            told = spent(mutated(request, result, told, task.variant.mutants, deadline, progress))
    except LabError as e:
        told = spent(lost(task.variant, " ".join(str(e).splitlines()[0].split()), e.detail.splitlines()))
    store.save(folder / FILE, told)
    return told


def _closer(
    task: VariantTask,
    request: ValidateRequest,
    result: ValidateResult,
    told: VariantResult,
    entries: Sequence[quarantine.Entry],
    deadline: float,
    progress: Progress,
) -> VariantResult:
    """Whatever breaks here, the run itself was good."""
    try:
        return examine(task, request, result, told, entries, deadline, progress)
    except Exception as e:
        traceback.print_exc()
        note = f"failures were not looked at more closely: {type(e).__name__}: {e}"
        return replace(told, notes=(*told.notes, note))


def lost(variant: Variant, why: str, evidence: Sequence[str] = ()) -> VariantResult:
    """The result of a variant that has none."""
    return VariantResult(variant, Verdict.INCONCLUSIVE, (why,), evidence=tuple(evidence), lost=why)


def request_of(task: VariantTask, at: Path) -> ValidateRequest:
    """What validation is asked for. BadInput when a file of the task is missing."""
    for name in filter(None, (task.series, task.claims)):
        if not (at / name).exists():
            raise BadInput("no such file", where=str(at / name), hint="the task's record names it")
    variant = task.variant
    selectors = Selectors(
        series=str(at / task.series),
        base=task.base.base or None,
        tree=task.base.tree or None,
        flavour=variant.flavour,
        qemu=task.qemu or None,
        sandboxed=task.sandboxed,
        jobs=task.jobs,
        claims=at / task.claims if task.claims else None,
    )
    return ValidateRequest(
        selectors=selectors,
        flavours=(variant.flavour,),
        out=(at / task.folder).resolve(),
        machine=variant.machine,
        params=params_of(variant),
        expression=task.expression or None,
        coverage=variant.coverage,
        races=RecipesUnderTest(load_all(recipes_dir())),
    )


def params_of(variant: Variant) -> tuple[str, ...]:
    """Parameters of the machine's template, the kernel's arguments among them."""
    if not variant.kernel_args:
        return variant.params
    given = [p.partition("=")[2] for p in variant.params if p.startswith(f"{KERNEL_ARGS}=")]
    others = tuple(p for p in variant.params if not p.startswith(f"{KERNEL_ARGS}="))
    return (*others, f"{KERNEL_ARGS}={' '.join((*given, *variant.kernel_args))}")


def command_of(task: VariantTask) -> str:
    """The command that leads here again, in the variant's folder with the series beside."""
    variant = task.variant
    words = ["hvlab", "validate", Path(task.series).name]
    words += ["--tree", task.base.tree] if task.base.tree else ["--base", "lock:base.lock"]
    words += ["--flavour", variant.flavour, "--machine", variant.machine]
    for param in params_of(variant):
        words += ["--param", param]
    if task.expression:
        words += ["-k", task.expression]
    return shlex.join(words)


def _execution(request: ValidateRequest) -> str:
    """How the guests will be executed; refuses what only the drive would stumble over, minutes later."""
    spec, qemu = (
        load_machine(request.machine, parse_params(request.params)),
        find_qemu(request.selectors.qemu),
    )
    return describe(qemu, choose_accel(spec, qemu))


def main(argv: Sequence[str]) -> int:
    """Run the task in the record ``argv[0]``. 0 when a result was written, 2 for a record that is none."""
    unwind_on_signals()
    if len(argv) != 1:
        print("usage: python -m lab.nightly.variant TASK.json", file=sys.stderr)
        return 2
    file = Path(argv[0]).absolute()
    try:
        task = store.load(file, VariantTask)
    except BadInput as e:
        print(e, file=sys.stderr)
        return 2
    try:
        result = run_variant(task, file.parent, TextProgress())
    except Exception as e:
        lines = traceback.format_exc().splitlines()
        print("\n".join(lines), file=sys.stderr)
        result = lost(task.variant, f"the runner broke: {type(e).__name__}: {e}", lines)
        result = replace(result, host=platform.node(), folder=task.folder)
        store.save(file.parent / task.folder / FILE, result)
    print(f"{task.id}: {result.verdict}" + (f", lost: {result.lost}" if result.lost else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
