# SPDX-License-Identifier: GPL-2.0-or-later
"""JSON forms of the records that cross a process boundary: the kernel going in, outcomes coming out.

The scenarios of each side run in a pytest process of their own. It is told which kernel to boot by
a *kernel file*, and writes one JSON line per event to a *report file*: ``boot``, ``abilities``,
``outcome``, ``plan`` and ``proof`` lines, ``quick`` when the quick set is done, ``end`` last. A file without
``end`` is a killed run.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, TextIO

from lab.model.errors import BadInput
from lab.model.kernel import KernelImage
from lab.model.result import DetectorProof, KernelRun, ScenarioOutcome
from lab.model.verdict import Verdict

_PATHS = ("bzimage", "vmlinux", "system_map", "config", "build_dir", "arming")


def image_to_json(image: KernelImage) -> dict[str, Any]:
    """A KernelImage as JSON values; paths as absolute strings."""
    values = dataclasses.asdict(image)
    for name in _PATHS:
        values[name] = str(values[name]) if values[name] else None
    values["modules"] = [str(m) for m in image.modules]
    values["unfixed"] = image_to_json(image.unfixed) if image.unfixed else None
    return values


def image_from_json(values: dict[str, Any]) -> KernelImage:
    """Inverse of :func:`image_to_json`."""
    known = dict(values)
    for name in _PATHS:
        known[name] = Path(known[name]) if known.get(name) else None
    known["modules"] = tuple(Path(m) for m in known["modules"])
    known["fixes"] = tuple(known.get("fixes", ()))
    known["unfixed"] = image_from_json(known["unfixed"]) if known.get("unfixed") else None
    return KernelImage(**known)


def read_kernel_file(path: Path) -> KernelImage:
    """Read a kernel file; BadInput when it is none."""
    try:
        return image_from_json(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError, KeyError) as e:
        raise BadInput(f"not a kernel file: {e}", where=str(path), hint="hvlab writes these itself") from e


def outcome_to_json(outcome: ScenarioOutcome) -> dict[str, Any]:
    """A ScenarioOutcome as JSON values."""
    return dataclasses.asdict(outcome)


def outcome_from_json(values: dict[str, Any]) -> ScenarioOutcome:
    """Inverse of :func:`outcome_to_json`."""
    known = dict(values)
    for name in ("claims", "reasons", "evidence", "splats", "files", "detectors", "unobserved"):
        known[name] = tuple(known.get(name, ()))
    known["verdict"] = Verdict(known["verdict"]) if known["verdict"] is not None else None
    return ScenarioOutcome(**known)


def run_to_json(run: KernelRun) -> dict[str, Any]:
    """A KernelRun as JSON values (the base result cache keeps these)."""
    return dataclasses.asdict(run)


def run_from_json(values: dict[str, Any]) -> KernelRun:
    """Inverse of :func:`run_to_json`."""
    known = dict(values)
    known["verdict"] = Verdict(known["verdict"])
    known["reasons"] = tuple(known["reasons"])
    known["splats"] = tuple(known["splats"])
    known["evidence"] = tuple(known["evidence"])
    known["fixes"] = tuple(known.get("fixes", ()))
    known["warnings"] = tuple(known.get("warnings", ()))
    known["outcomes"] = tuple(outcome_from_json(o) for o in known["outcomes"])
    known["detectors"] = tuple(DetectorProof(**d) for d in known["detectors"])
    return KernelRun(**known)


class ReportWriter:
    """Appends one JSON line per event and flushes it, so that a killed run keeps what it had."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: TextIO = path.open("w", encoding="utf-8")

    def write(self, event: str, **values: Any) -> None:
        """Write one event line."""
        self._file.write(json.dumps({"event": event, **values}) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file; further writes are errors."""
        self._file.close()


@dataclasses.dataclass(slots=True)
class Report:
    """What a report file says. ``complete`` is False when the run was killed."""

    outcomes: list[ScenarioOutcome] = dataclasses.field(default_factory=list)
    plan: list[str] = dataclasses.field(default_factory=list)
    """Ids of all scenarios that several processes run together, in the order of one alone."""
    abilities: dict[str, bool] = dataclasses.field(default_factory=dict)
    proofs: list[DetectorProof] = dataclasses.field(default_factory=list)
    boots: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    errors: list[str] = dataclasses.field(default_factory=list)
    boot_failure: dict[str, Any] | None = None
    splats: list[str] = dataclasses.field(default_factory=list)
    allowed: list[dict[str, str]] = dataclasses.field(default_factory=list)
    """Splats that an entry of the allow-list explains: ``entry``, ``title``, ``where``."""
    cpu: float = 0.0
    quick_done: bool = False
    complete: bool = False


def read_report(path: Path) -> Report:
    """Parse a report file as far as it goes; a torn last line is dropped."""
    report = Report()
    if not path.exists():
        return report
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            values = json.loads(line)
        except ValueError:
            break
        match values.pop("event"):
            case "outcome":
                report.outcomes.append(outcome_from_json(values))
            case "plan":
                report.plan = values["ids"]
            case "abilities":
                report.abilities.update(values)
            case "proof":
                report.proofs.append(DetectorProof(**values))
            case "splat":
                report.splats.append(values["id"])
            case "allowed":
                report.allowed.append(values)
            case "boot":
                report.boots.append(values)
            case "error":
                report.errors.append(values["text"])
            case "boot-failure":
                report.boot_failure = values
            case "quick":
                report.quick_done = True
            case "end":
                report.complete = True
                report.cpu = float(values.get("cpu", 0.0))
    return report
