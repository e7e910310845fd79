# SPDX-License-Identifier: GPL-2.0-or-later
"""A reply to a series, ready for a person to read, change and send. The lab never sends it.

Plain text of 72 columns in the manners of the kernel's lists: one finding told fully, the others in a table,
commands to repeat it, and what was not seen. Only those commands may be longer than a line.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab import whole
from lab.model.errors import LabUnavailable
from lab.model.nightly import Scenario, VariantResult, VersionReport
from lab.model.verdict import Verdict
from lab.report import night_view, reply_mail, view
from lab.report.mail import WIDTH
from lab.report.reply_limits import unseen

EVIDENCE = 12
"""Lines of evidence of the finding that is told fully."""
REMARKS = 3
"""Lines of what a check said."""
SPLAT = 58
"""Columns of a splat's id."""
ROWS = 20
"""Findings in the table, changes, remarks of checks: a reader asks for more."""
_MACHINES = {
    "mshv-root": "root partition of a stand-in hypervisor under QEMU",
    "mshv-root-linux-child": "root partition of a stand-in hypervisor under QEMU, with a Linux guest",
    "kvm-root": "the same payload on KVM under QEMU, no Hyper-V interface",
    "bare-root": "under QEMU without a hypervisor",
    "hyperv": "Microsoft's hypervisor in QEMU",
    "external": "a root partition that existed already, reached by SSH",
}
_STAND_IN = (
    "The hypervisor is a stand-in that speaks the interface of Microsoft's. It is not Microsoft's own: "
    "what it does not model, and how long things take, was not tested."
)
_DRAFT = "[draft]"
"""In front of a tag: no tool takes it for one until a person has taken this away."""

_TAG = re.compile(r"^(\s*[\w-]+-by):", re.IGNORECASE)
"""What tools collect from replies. A subject or a console must not be able to write one."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The draft: as text with its headers in front, and as a mail."""

    text: str
    eml: bytes


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a reply tells of. ``scenario`` is None where a variant ended before any."""

    result: VariantResult
    scenario: Scenario | None

    @property
    def name(self) -> str:
        return self.scenario.id if self.scenario else (self.result.failed_phase or "no result")

    @property
    def change(self) -> str:
        return self.scenario.change if self.scenario else str(self.result.verdict)

    @property
    def culprit(self) -> int:
        return (self.scenario.culprit if self.scenario else 0) or self.result.culprit


def reply(version: VersionReport, lab: str = "") -> Reply:
    """The draft of a reply to a version. ``lab`` is the lab's version. Needs no file, never fails."""
    patch = _answered_patch(version)
    found = reply_mail.headers(version.series, patch, version.finished)
    text = body(version, lab, patch)
    return Reply(reply_mail.as_text(found, text), reply_mail.as_eml(found, text))


def write_reply(version: VersionReport, folder: Path, lab: str = "") -> list[Path]:
    """Write ``reply.txt`` and ``reply.eml``, each as a whole or not at all. LabUnavailable if it cannot."""
    draft = reply(version, lab)
    written = []
    for name, data in (("reply.txt", draft.text.encode()), ("reply.eml", draft.eml)):
        path = folder / name
        try:
            whole.write(path, data)
        except OSError as e:
            raise LabUnavailable(f"cannot write the reply: {e.strerror}", where=str(path)) from e
        written.append(path)
    return written


def findings(version: VersionReport) -> list[Finding]:
    """What counts against the series, the worst first."""
    ended = [Finding(r, None) for r in version.variants if r.failed_phase and not r.lost]
    scenarios = [
        Finding(r, s)
        for r in version.variants
        for s in night_view.notable(r.scenarios)
        if s.counts in (Verdict.FAIL, Verdict.INCONCLUSIVE) and not s.quarantined
    ]
    scenarios.sort(key=_telling)
    return [*(f for f in ended if f.result.verdict is Verdict.FAIL), *scenarios]


def body(version: VersionReport, lab: str = "", patch: int = 0) -> str:
    """The text behind the headers, ending in a line break. ``patch`` (from 1) is answered, 0: the cover."""
    series = version.series
    lines = []
    if 0 < patch <= len(series.patches):
        lines += view.wrap(f"On {night_view.when(series.date)}, {series.author} wrote:", WIDTH)
        lines += view.wrap(
            f"[{patch}/{len(series.patches)}] {series.patches[patch - 1].subject}", WIDTH, "> ", "> "
        )
        lines += [">", ""]
    lines += ["Hello,", "", *_opening(version, lab)]
    lines += ["", f"Verdict: {version.verdict.upper()}", *_reasons(version), "", *_what(version)]
    found = findings(version)
    if found:
        lines += ["", *_story(version, found[0])]
        lines += _table(found[1:])
    lines += _checks(version)
    lines += _claims(version)
    lines += _since(version)
    lines += _section("What was not seen", unseen(version))
    commands = list(dict.fromkeys(c for r in _in_order(version, found) for c in r.reproduce))
    if commands:
        lines += ["", "To repeat it:", "", *(f"  {' '.join(view.clean(c).split())}" for c in commands)]
    lines = [_TAG.sub(r"\1 :", line) for line in lines] + ["", *_tags(version)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _opening(version: VersionReport, lab: str) -> list[str]:
    title = f"{version.series.title}, version {version.series.version}"
    if version.series.problem or not version.variants:
        return view.wrap(f"a test lab took this series up ({title}) and could not run it.", WIDTH)
    name = f"hvlab {lab}".strip()
    did = "ran the same scenarios on it and on its base"
    if not any(r.scenarios for r in version.variants):
        did = "did not get as far as running anything on it"
    lines = view.wrap(f"{name}, a test lab, took this series ({title}) and {did}.", WIDTH)
    if any(r.variant.machine.startswith("mshv-root") for r in version.variants):
        lines += ["", *view.wrap(_STAND_IN, WIDTH)]
    return lines


def _reasons(version: VersionReport) -> list[str]:
    found = night_view.reasons(version)
    lines = [line for why in found[:ROWS] for line in view.wrap(why.text, WIDTH, "  - ")]
    return lines + _more(len(found) - ROWS)


def _what(version: VersionReport) -> list[str]:
    base = version.base.base or version.base.tree or "none"
    lines = view.wrap(f"{base} ({version.base.how})", WIDTH, "Base:      ")
    name = "Variants:"
    for result in version.variants:
        lines += view.wrap(f"{result.variant.id}: {result.verdict}", WIDTH, f"{name:<11}", " " * 13)
        name = ""
    name = "Machines:"
    for machine in dict.fromkeys(r.variant.machine for r in version.variants):
        about = f": {_MACHINES[machine]}" if machine in _MACHINES else ""
        lines += view.wrap(f"{machine}{about}", WIDTH, f"{name:<11}", " " * 13)
        name = ""
    releases = dict.fromkeys(r.release or r.base_version for r in version.variants)
    for text in filter(None, releases):
        lines += view.wrap(text, WIDTH, "Kernel:    ")
    for text in dict.fromkeys(r.execution for r in version.variants if r.execution):
        lines += view.wrap(text, WIDTH, "Executed:  ")
    return lines


def _story(version: VersionReport, finding: Finding) -> list[str]:
    result, scenario = finding.result, finding.scenario
    if scenario is None:
        head = f"The patched kernel ended in phase {result.failed_phase} ({result.variant.id})."
        reasons, evidence = [why.text for why in night_view.variant_reasons(result)], result.evidence
    else:
        side = "fails" if scenario.counts is Verdict.FAIL else "is in doubt"
        head = f"{scenario.id} {side} ({result.variant.id}, {scenario.change})."
        reasons, evidence = list(scenario.reasons), scenario.evidence
    lines = view.wrap(head, WIDTH)
    if finding.culprit:
        lines += view.wrap(_blame(version, finding.culprit), WIDTH)
    for reason in reasons:
        lines += view.wrap(reason, WIDTH, "  - ")
    told = [line for line in evidence if line not in reasons]
    if told:
        lines += ["", *_quoted(told, EVIDENCE)]
    if scenario is not None:
        lines += _reruns(scenario)
        for splat in scenario.splats:
            lines.append(f"Splat: {_splat(splat)}")
        if scenario.claims:
            lines += view.wrap(", ".join(scenario.claims), WIDTH, "Review claims: ")
    return lines


def _blame(version: VersionReport, number: int) -> str:
    total = len(version.series.patches)
    named = f': "{version.series.patches[number - 1].subject}"' if number <= total else ""
    return f"It first shows with patch {number}/{total}{named}."


def _reruns(scenario: Scenario) -> list[str]:
    parts = [
        f"{night_view.rate(value)} under {seed}"
        for value, seed in ((scenario.rerun_same, "the same seed"), (scenario.rerun_new, "new seeds"))
        if value
    ]
    if not parts:
        return []
    return ["", *view.wrap(f"Run again it fails in {', '.join(parts)} (95 % interval).", WIDTH)]


def _table(found: Sequence[Finding]) -> list[str]:
    if not found:
        return []
    lines = ["", "Also:", "", f"  {'scenario':<30} {'variant':<18} {'change':<13} patch", "  " + "-" * 69]
    for finding in found[:ROWS]:
        name = view.clip(_flat(finding.name), 30)
        variant = view.clip(_flat(finding.result.variant.id), 18)
        patch = str(finding.culprit or "")
        lines.append(f"  {name:<30} {variant:<18} {view.clip(_flat(finding.change), 13):<13} {patch:>5}")
    return lines + _more(len(found) - ROWS)


def _checks(version: VersionReport) -> list[str]:
    failed = [c for c in version.checks if c.verdict is Verdict.FAIL]
    if not failed:
        return []
    lines = ["", "Static checks, what each patch adds:", ""]
    for check in failed[:ROWS]:
        style = " (style)" if check.advisory else ""
        lines += view.wrap(f"patch {check.patch}: {night_view.check_words(check)}{style}", WIDTH, "  - ")
        lines += _quoted(check.lines, REMARKS)
    return lines + _more(len(failed) - ROWS)


def _claims(version: VersionReport) -> list[str]:
    texts = [
        f"{row.id}, {row.title}: {answer.answer} (base: {row.base}, now: {answer.now})"
        for row in night_view.claim_rows([version])
        for answer in row.answers
        if answer and answer.answer != "no problem"
    ]
    return _section("Review comments that running can decide", texts)


def _since(version: VersionReport) -> list[str]:
    if version.delta is None:
        return []
    told = [d for d in version.delta.differences if d.kind != "time"]
    texts = [
        f"worse: {d.kind} {_splat(d.id) if d.kind == 'splat' else d.id}"
        + (f" ({d.variant})" if d.variant else "")
        + f": {d.before} -> {d.now}"
        for d in told
        if d.better is False
    ]
    better = sum(d.better is True for d in told)
    if better:
        texts.append(f"better: {better} result{'s' if better > 1 else ''}")
    return _section(f"Since v{version.delta.before}", texts)


def _quoted(told: Sequence[str], limit: int) -> list[str]:
    """Lines of a console or a compiler, the long ones wrapped."""
    lines = []
    for line in told[:limit]:
        lines += view.wrap(_flat(line), WIDTH, "    | ", "    |   ")[:3]
    return lines + _more(len(told) - limit, "    | ")


def _splat(splat: str) -> str:
    """A splat's id on one line: its kind and digest stay whole."""
    splat = _flat(splat)
    if len(splat) <= SPLAT:
        return splat
    middle, _, digest = splat.rpartition("/")
    return view.clip(f"{view.clip(middle, max(8, SPLAT - 1 - len(digest)))}/{digest}", SPLAT)


def _section(title: str, texts: Sequence[str]) -> list[str]:
    if not texts:
        return []
    lines = ["", f"{title}:", ""]
    for text in texts[:ROWS]:
        lines += view.wrap(text, WIDTH, "  - ")
    return lines + _more(len(texts) - ROWS)


def _tags(version: VersionReport) -> list[str]:
    me = str(reply_mail.SENDER)
    if version.verdict is Verdict.PASS:
        on = "stand-in" if _only_stand_in(version) else "machines as above"
        text = f"A person decides whether to give a tag; without {_DRAFT} it is one."
        return [*view.wrap(text, WIDTH), "", f"  {_DRAFT} Tested-by: {me} # {on}"]
    if version.verdict is Verdict.FAIL:
        text = (
            "No Tested-by: it fails. Should this go in as it is, whoever mends it later can credit the find. "
            f"A person decides whether to offer that; without {_DRAFT} it is a tag."
        )
        return [*view.wrap(text, WIDTH), "", f"  {_DRAFT} Reported-by: {me}"]
    return view.wrap("No tag is offered: nothing was decided.", WIDTH)


def _only_stand_in(version: VersionReport) -> bool:
    return all(r.variant.machine.startswith("mshv-root") for r in version.variants)


def _telling(finding: Finding) -> tuple[int, bool, int]:
    """To sort by: what fails first, then what was rerun, then what shows most."""
    scenario = finding.scenario
    if scenario is None:
        return -1, False, 0
    rerun = bool(scenario.rerun_same or scenario.rerun_new)
    return night_view.rank(scenario)[0], not rerun, -len(scenario.evidence)


def _answered_patch(version: VersionReport) -> int:
    """The one patch that everything is put down to, 0 if there is no such patch."""
    if version.verdict is not Verdict.FAIL:
        return 0
    failed = {c.patch for c in version.checks if c.verdict is Verdict.FAIL and not c.advisory}
    failed |= {
        f.culprit for f in findings(version) if f.scenario is None or f.scenario.counts is Verdict.FAIL
    }
    return failed.pop() if len(failed) == 1 else 0


def _in_order(version: VersionReport, found: Sequence[Finding]) -> list[VariantResult]:
    """Variants, those with findings first."""
    first = [f.result for f in found[:1]]
    return [*first, *(r for r in version.variants if r not in first)]


def _flat(text: str) -> str:
    return view.clean(text).replace("\n", " ")


def _more(number: int, indent: str = "  ") -> list[str]:
    return [f"{indent}({number} more)"] if number > 0 else []
