# SPDX-License-Identifier: GPL-2.0-or-later
"""The example inbox with real guests: here, and on three SSH hosts of which one dies half-way."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from lab.model.nightly import NightlyReport
from lab.model.verdict import Verdict
from lab.nightly import store
from lab.nightly.b4_check import REPORT
from lab.paths import repo_root

sys.path.insert(0, str(Path(__file__).parent))
import network
from runs import until

INBOX = repo_root() / "tests" / "series" / "inbox"
SCENARIOS = (
    "first_touch_of_page_n or event_interrupts or event_whose_route or removed_ram or refused_map_of_ram"
)
BUDGET = 3600.0


def command(out: Path, *more: str | Path) -> list[str | Path]:
    hvlab = Path(sys.executable).with_name("hvlab")
    argv: list[str | Path] = [hvlab, "nightly", "--inbox", INBOX, "--out", out]
    return [*argv, "--variant", "plain", "--reruns", "1", "-k", SCENARIOS, *more]


def finish(process: subprocess.Popen[str]) -> str:
    said, _ = process.communicate(timeout=BUDGET)
    assert process.returncode == 1, f"planted defects make the run fail: {said[-3000:]}"
    return said


def start(argv: Sequence[str | Path]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(word) for word in argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=repo_root(),
    )


def told(out: Path) -> dict[str, object]:
    """Verdicts of versions and variants, what fails for good and the patch that it is put down to, and the
    planted defects by the truth beside the inbox."""
    report = store.load(out / REPORT, NightlyReport)
    found: dict[str, object] = {}
    for version in report.versions:
        found[version.series.id] = version.verdict
        found[f"{version.series.id} checks"] = [(c.name, c.patch, c.verdict) for c in version.checks]
        for v in version.variants:
            bad = {(s.id.partition("[")[0], s.culprit) for s in v.scenarios if s.counts is Verdict.FAIL}
            found[f"{version.series.id}/{v.variant.id}"] = (v.verdict, sorted(bad), v.lost)
    held = subprocess.run(
        [sys.executable, repo_root() / "ci" / "inbox.py", out], capture_output=True, text=True, timeout=60
    )
    assert held.returncode == 0, held.stdout + held.stderr
    return found


@pytest.mark.long
def test_verdicts_are_those_of_this_machine_when_one_of_three_hosts_dies(tmp_path: Path) -> None:
    if why := network.missing():
        pytest.skip(why)
    finish(start(command(tmp_path / "here")))
    here = told(tmp_path / "here")
    with network.Network(tmp_path / "net") as net:
        known = [h.host() for h in net.hosts]
        tables = [f'[[host]]\naddress = "{h.address}"\ncheckout = "{h.checkout}"\n' for h in known]
        hosts = net.folder / "hosts.toml"
        hosts.write_text('known_hosts = "known_hosts"\nidentity = "client"\n' + "".join(tables))
        process = start(net.here(command(tmp_path / "there", "--hosts", hosts)))
        victim = net.hosts[1]
        until(
            lambda: victim.runs("qemu-system-x86_64") or process.poll() is not None, BUDGET, "a guest there"
        )
        assert process.poll() is None, process.communicate()[0][-3000:]
        victim.power_off()
        said = finish(process)
    assert f"host retired: {victim.host().address}" in said
    assert told(tmp_path / "there") == here
    again = start(command(tmp_path / "there"))
    done, _ = again.communicate(timeout=120)
    assert again.returncode == 0 and "\n0 judged" in done, done
