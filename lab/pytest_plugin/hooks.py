# SPDX-License-Identifier: GPL-2.0-or-later
"""Configuration and run hooks: options, the order of scenarios, one rerun after a tripwire."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Sequence
from pathlib import Path

import pytest
from _pytest.runner import runtestprotocol

from lab.model.errors import NotObservable
from lab.pytest_plugin.recording import AbilityMissing, Recording, first_line
from lab.pytest_plugin.scenario import ScenarioMark, scenario_id, scenario_of
from lab.pytest_plugin.session import Boot, LabSession, SessionOptions
from lab.unwind import unwind_on_signals

SESSION = pytest.StashKey[LabSession]()
_BROKEN_OFF = (
    pytest.ExitCode.INTERRUPTED,
    pytest.ExitCode.INTERNAL_ERROR,
    pytest.ExitCode.USAGE_ERROR,
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Selectors as ``hvlab`` takes them, plus the plumbing that ``hvlab validate`` uses."""
    group = parser.getgroup("hvlab", "Linux on a stand-in for Microsoft's hypervisor")
    add = group.addoption
    add("--hvlab-series", metavar="S", help="series under test (default: the embedded one)")
    add("--hvlab-stock", action="store_true", help="test the base kernel without any series")
    add("--hvlab-base", metavar="SPEC", help="base kernel: debian, debian:7.2, FILE.tar.*, lock:FILE")
    add("--hvlab-tree", metavar="DIR[@REV]", help="base kernel from a git tree")
    add("--hvlab-kernel", metavar="IMAGE", type=Path, help="a bzImage to test as it is")
    add(
        "--hvlab-kernel-file",
        metavar="FILE",
        type=Path,
        help="description of a built kernel (hvlab writes it)",
    )
    add("--hvlab-flavour", metavar="F", default="plain", help="kernel flavour (default: %(default)s)")
    add("--hvlab-machine", metavar="M", default="mshv-root", help="machine template (default: %(default)s)")
    add("--hvlab-param", metavar="K=V", action="append", default=[], help="parameter of the machine template")
    add("--hvlab-qemu", metavar="PATH", help="qemu-system-x86_64 to use")
    add("--hvlab-no-sandbox", action="store_true", help="build without a sandbox")
    add("--hvlab-quick", action="store_true", help="only the quick set: marked quick, or of the claims named")
    add("--hvlab-slow", action="store_true", help="slow scenarios belong to the quick set too")
    add("--hvlab-claims", metavar="C1,C2", default="", help="claims whose scenarios are the quick set")
    add(
        "--hvlab-order",
        metavar="FILE",
        type=Path,
        help="run only the scenarios whose ids it lists, in its order",
    )
    add("--hvlab-stop-at-failure", action="store_true", help="end the run at the first scenario that fails")
    add("--hvlab-fresh", action="store_true", help="boot each lab from the start, never from a snapshot")
    add(
        "--hvlab-together",
        metavar="DIR",
        type=Path,
        help="only scenarios that no other process with this folder has taken",
    )
    add("--hvlab-out", metavar="DIR", type=Path, help="folder for evidence files")
    add("--hvlab-report", metavar="FILE", type=Path, help="write outcomes as JSON lines")
    add("--hvlab-counters", metavar="DIR", type=Path, help="keep the counters of a profiled kernel here")
    add("--hvlab-keep", metavar="NAME", help="leave the lab of a failed scenario up under this name")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marks; nothing boots here."""
    config.addinivalue_line(
        "markers", "scenario(claims, needs, quick, kernel_args, ...): drives a guest; see lab.pytest_plugin"
    )
    config.addinivalue_line("markers", "long: takes longer than the default run allows (tox -e long)")
    config.stash[SESSION] = LabSession(SessionOptions.from_config(config))
    unwind_on_signals()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Drop what is not quick if asked; order the rest."""
    marks = [(item, scenario_of(item)) for item in items]
    twice = [n for n, k in Counter(scenario_id(i) for i, m in marks if m is not None).items() if k > 1]
    if twice:
        raise pytest.UsageError(f"two scenarios share an id: {', '.join(twice)}")
    claims = set(filter(None, config.getoption("--hvlab-claims").split(",")))

    slow = config.getoption("--hvlab-slow")

    def quick(mark: ScenarioMark | None) -> bool:
        if mark is None or (mark.slow and not slow):
            return False
        return bool(claims & set(mark.claims)) if claims else mark.quick

    if config.getoption("--hvlab-quick"):
        config.hook.pytest_deselected(items=[i for i, m in marks if not quick(m)])
        marks = [(i, m) for i, m in marks if quick(m)]

    if listed := config.getoption("--hvlab-order"):
        place = {name: n for n, name in enumerate(listed.read_text().splitlines())}
        chosen = {id(i): place[scenario_id(i)] for i, m in marks if m is not None and scenario_id(i) in place}
        config.hook.pytest_deselected(items=[i for i, _ in marks if id(i) not in chosen])
        items[:] = sorted((i for i, _ in marks if id(i) in chosen), key=lambda i: chosen[id(i)])
        config.stash[SESSION].quick_left = sum(quick(m) for i, m in marks if id(i) in chosen)
        return

    # The quick set first, so that its verdict is there early; inside, equal boots side by side. The rest
    # goes on in the boot that the quick set ended in.
    def boot(pair: tuple[pytest.Item, ScenarioMark | None]) -> Boot:
        return Boot.of(pair[1] or ScenarioMark())

    first = sorted((p for p in marks if quick(p[1])), key=boot)
    running = boot(first[-1]) if first else Boot.of(ScenarioMark())
    late = [p for p in marks if p[1] is not None and not quick(p[1])]
    rest = sorted(late, key=lambda p: (boot(p) != running, boot(p)))
    if config.getoption("--hvlab-together"):
        config.stash[SESSION].plan([scenario_id(item) for item, _ in (*first, *rest)])
        # What takes long comes early, so that no process is left alone with it at the end.
        rest.sort(key=lambda p: (boot(p) != running, boot(p), not (p[1] and p[1].slow)))
        marks = [*first, *rest]
    # Tests that are no scenarios keep their order and come last, when no lab has to be kept for others.
    items[:] = [item for item, _ in first + rest] + [item for item, mark in marks if mark is None]
    config.stash[SESSION].quick_left = sum(quick(m) for _, m in marks)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Run a scenario; after a tripwire hit (a QEMU defect, never a kernel bug) run it once more."""
    mark = scenario_of(item)
    session = item.config.stash[SESSION]
    if mark is None:
        session.drop()
        return None
    if session.options.together is not None:
        if not session.take(scenario_id(item)):
            return True
        # Nobody knows which one is next.
        nextitem = None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    reports = []
    for attempt in (1, 2):
        session.recording = Recording(scenario_id(item), mark)
        reports = runtestprotocol(item, log=False, nextitem=nextitem)
        if not session.recording.infrastructure or attempt == 2:
            break
        session.note(f"{item.name}: {session.recording.infrastructure[0]}; running it once more")
        if hasattr(item, "_initrequest"):
            item._initrequest()
    _tell_what_came_after(item, session.recording, reports)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    failed = session.finish_scenario()
    if failed and item.config.getoption("--hvlab-stop-at-failure"):
        item.session.shouldfail = f"{scenario_id(item)} failed"
    return True


def _tell_what_came_after(
    item: pytest.Item, recording: Recording | None, reports: Sequence[pytest.TestReport]
) -> None:
    """A scenario whose own code ended well, but which the checks after it let not pass, has not passed for
    pytest either. Where a failure is expected, this was it."""
    call = next((r for r in reports if r.when == "call"), None)
    if recording is None or call is None:
        return
    why = recording.against_a_pass()
    if not why or any(r.failed for r in reports if r.when != "call"):
        return
    call.longrepr = why
    if (known := item.get_closest_marker("xfail")) is not None:
        call.outcome, call.wasxfail = "skipped", known.kwargs.get("reason", "")
    else:
        call.outcome = "failed"
        call.sections.extend(recording.sections())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Collect what each phase of a scenario raised."""
    report = yield
    session = item.config.stash[SESSION]
    if session.recording is not None and scenario_of(item) is not None:
        if call.excinfo is not None:
            session.explain(call.excinfo.value)
        session.recording.phase(call)
        unjudged = call.excinfo and isinstance(call.excinfo.value, (AbilityMissing, NotObservable))
        if call.excinfo is not None and unjudged and not session.recording.failures:
            # Nothing was judged: for pytest too that is neither passed nor failed.
            place, why = item.location[1] or 0, f"Skipped: {first_line(call.excinfo.value)}"
            report.outcome, report.longrepr = "skipped", (str(item.path), place, why)
            vars(report).pop("wasxfail", None)
        if report.failed:
            report.sections.extend(session.recording.sections())
    return report


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Shut every lab down and close the report; ``end`` tells a finished run from one that broke off."""
    ours = session.config.stash[SESSION]
    if exitstatus in _BROKEN_OFF:
        ours.close()
    else:
        ours.finish()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Nothing stays behind even when collection failed."""
    if SESSION in config.stash:
        config.stash[SESSION].close()
