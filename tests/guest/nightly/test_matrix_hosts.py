# SPDX-License-Identifier: GPL-2.0-or-later
"""The matrix on this machine and on three SSH hosts, through deaths of hosts and of the whole run.

Real Avocado, real SSH servers; only the variants are stand-ins, of a few seconds each.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lab.model.nightly import VariantResult
from lab.nightly.guard import descendants

sys.path.insert(0, str(Path(__file__).parent))
import network
from runs import BUDGET, Matrix, finish, kill_all, until


def without_host(results: list[VariantResult | None]) -> list[VariantResult | None]:
    return [replace(r, host="") if r else None for r in results]


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> list[VariantResult | None]:
    """What a run on this machine gives."""
    matrix = Matrix(tmp_path_factory.mktemp("local"), 6, 0.2)
    said = finish(matrix.start())
    assert [line for line in said.splitlines() if line.startswith("done")] == [
        f"done {r}" for r in matrix.records
    ]
    matrix.nothing_left()
    return matrix.results()


@pytest.fixture
def net(tmp_path: Path) -> Iterator[network.Network]:
    if why := network.missing():
        pytest.skip(why)
    with network.Network(tmp_path / "net") as net:
        hosts = [h.host() for h in net.hosts]
        tables = [f'[[host]]\naddress = "{h.address}"\ncheckout = "{h.checkout}"\n' for h in hosts]
        keys = 'known_hosts = "known_hosts"\nidentity = "client"\n'
        (net.folder / "hosts.toml").write_text(keys + "".join(tables))
        yield net
        survivors = [h for h in net.hosts if h.init is not None]
        for host in survivors:
            until(lambda host=host: not any(host.state.iterdir()), 5, f"files of {host.address}")
    assert net.name not in network.run("ip", "netns", "list")


def test_results_are_those_of_a_local_run_when_a_host_dies_half_way(
    net: network.Network, tmp_path: Path, local: list[VariantResult | None]
) -> None:
    matrix = Matrix(tmp_path / "m", 6, 4.0)
    process = matrix.start(net)
    victim = net.hosts[1]
    until(lambda: victim.runs(matrix.token), BUDGET, "the second host runs something")
    victim.power_off()
    said = finish(process)
    results = matrix.results()
    assert without_host(results) == local
    hosts = {r.host for r in results if r}
    assert hosts == {net.hosts[0].host().address, net.hosts[2].host().address}
    assert f"host retired: {victim.host().address}" in said
    assert sorted(x for x in said.splitlines() if x.startswith("done")) == [
        f"done {r}" for r in matrix.records
    ]
    for record in matrix.records:
        text = (record.parent / "plain" / "evidence" / "console.txt").read_text()
        assert text == (record.parent / "series.mbox").read_text()
    matrix.nothing_left()


@pytest.mark.parametrize("remote", [False, True], ids=["here", "on hosts"])
def test_a_run_killed_as_a_whole_leaves_nothing_and_goes_on_where_it_was(
    remote: bool, tmp_path: Path, local: list[VariantResult | None], request: pytest.FixtureRequest
) -> None:
    net = request.getfixturevalue("net") if remote else None
    matrix = Matrix(tmp_path / "m", 6, 3.0)
    process = matrix.start(net)
    until(
        lambda: sum(r is not None for r in matrix.results()) >= 2 and matrix.at_work(), BUDGET, "two results"
    )
    kill_all(process)
    until(lambda: not matrix.running(), 60, "the end of what was killed")
    before = {f: f.stat().st_mtime_ns for f in matrix.folder.rglob("variant.json")}
    assert 2 <= len(before) < 6
    said = finish(matrix.start(net))
    assert {f: f.stat().st_mtime_ns for f in before} == before, "a finished variant was run again"
    assert said.count("has its result already") == len(before)
    assert without_host(matrix.results()) == local
    matrix.nothing_left()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_run_has_ended_all_when_it_ends(
    number: signal.Signals, net: network.Network, tmp_path: Path
) -> None:
    matrix = Matrix(tmp_path / "m", 3, 60.0)
    process = matrix.start(net)
    until(lambda: all(h.runs(matrix.token) for h in net.hosts), BUDGET, "all hosts run something")
    process.send_signal(number)
    process.communicate(timeout=BUDGET)
    assert process.returncode != 0
    assert matrix.results() == [None] * 3
    matrix.nothing_left(budget=0.0)


def test_a_host_whose_cable_is_cut_ends_its_variant_itself(net: network.Network, tmp_path: Path) -> None:
    matrix = Matrix(tmp_path / "m", 1, 8.0)
    matrix.seconds = 100.0
    process = matrix.start(net)
    until(lambda: any(h.runs(matrix.token) for h in net.hosts), BUDGET, "a host runs it")
    victim = next(h for h in net.hosts if h.runs(matrix.token))
    victim.unplug()
    others = [h for h in net.hosts if h is not victim]
    until(lambda: any(h.runs(matrix.token) for h in others), 60, "another host runs it")
    until(lambda: not victim.runs(matrix.token), 90, "the host that was cut off ends it")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=BUDGET)
    matrix.nothing_left(budget=0.0)


def test_a_variant_that_loses_two_hosts_is_lost_and_run_again_later(
    net: network.Network, tmp_path: Path, local: list[VariantResult | None]
) -> None:
    matrix = Matrix(tmp_path / "m", 1, 5.0)
    process = matrix.start(net)
    for _ in range(2):
        until(lambda: any(h.runs(matrix.token) for h in net.hosts), BUDGET, "a host runs it")
        next(h for h in net.hosts if h.runs(matrix.token)).power_off()
    said = finish(process)
    assert said.count("host retired") == 2
    (lost,) = matrix.results()
    assert lost is not None and lost.lost == "lost 2 hosts in a row" and lost.verdict == "inconclusive"
    assert len(lost.evidence) == 2
    finish(matrix.start(net))
    assert without_host(matrix.results()) == local[:1]
    matrix.nothing_left()


def test_a_host_with_a_key_that_is_not_known_runs_nothing(net: network.Network, tmp_path: Path) -> None:
    known = net.folder / "known_hosts"
    other = known.read_text().splitlines()[0].split(" ", 1)[1]
    known.write_text("".join(f"{h.address} {other}\n" for h in net.hosts[1:]))
    matrix = Matrix(tmp_path / "m", 1, 0.2)
    said = finish(matrix.start(net))
    assert said.count("Host key verification failed") == 3
    (lost,) = matrix.results()
    assert lost is not None and lost.lost == "no host is left to run it"
    assert not any("Accepted publickey" in h.log.read_text() for h in net.hosts)


def test_a_variant_over_its_budget_is_killed_with_all_it_started(
    net: network.Network, tmp_path: Path
) -> None:
    matrix = Matrix(tmp_path / "m", 1, 60.0, budget=2.0)
    finish(matrix.start(net))
    (lost,) = matrix.results()
    assert lost is not None and lost.lost == "not done within its budget of 2 s"
    assert "step 0 of s0/v1/plain" in lost.evidence
    matrix.nothing_left(budget=0.0)


def processes(root: int, words: bytes) -> list[int]:
    return [p for p in descendants(root) if words in Path(f"/proc/{p}/cmdline").read_bytes()]


def test_a_variant_whose_runner_is_killed_is_lost_and_the_next_one_runs(tmp_path: Path) -> None:
    matrix = Matrix(tmp_path / "m", 2, 3.0)
    process = matrix.start()
    until(matrix.at_work, BUDGET, "the first variant runs")
    (runner,) = processes(process.pid, b"lab.nightly.plugins.runner")
    os.kill(runner, signal.SIGKILL)
    finish(process)
    first, second = matrix.results()
    assert first is not None and first.lost == "Avocado's runner was killed by signal 9"
    assert second is not None and second.verdict == "pass"
    matrix.nothing_left(budget=30)


def test_a_job_that_is_killed_is_told_and_takes_its_variant_along(tmp_path: Path) -> None:
    matrix = Matrix(tmp_path / "m", 2, 30.0)
    process = matrix.start()
    until(matrix.at_work, BUDGET, "the first variant runs")
    (job,) = processes(process.pid, b"lab.nightly.plugins.job")
    os.kill(job, signal.SIGKILL)
    said, _ = process.communicate(timeout=BUDGET)
    assert process.returncode != 0 and "Avocado ended without a result of 2 variants" in said
    assert matrix.results() == [None, None]
    assert not matrix.running()


def test_a_host_without_the_checkout_is_told_and_the_others_run_everything(
    net: network.Network, tmp_path: Path, local: list[VariantResult | None]
) -> None:
    hosts = net.folder / "hosts.toml"
    hosts.write_text(hosts.read_text().replace('checkout = "/', 'checkout = "/none/', 1))
    matrix = Matrix(tmp_path / "m", 6, 0.2)
    said = finish(matrix.start(net))
    assert f"host retired: {net.hosts[0].host().address}: the connection ended" in said
    assert "/none/" in said
    assert without_host(matrix.results()) == local
    matrix.nothing_left()


def test_an_agent_that_is_killed_takes_its_variant_along_and_another_host_runs_it(
    net: network.Network, tmp_path: Path, local: list[VariantResult | None]
) -> None:
    matrix = Matrix(tmp_path / "m", 1, 6.0)
    process = matrix.start(net)
    until(lambda: any(h.runs(matrix.token) for h in net.hosts), BUDGET, "a host runs it")
    host = next(h for h in net.hosts if h.runs(matrix.token))
    agents = [
        p for p in host.processes() if b"\0lab.nightly.agent\0" in Path(f"/proc/{p}/cmdline").read_bytes()
    ]
    assert len(agents) == 1
    os.kill(agents[0], signal.SIGKILL)
    until(lambda: not host.runs(matrix.token), 10, "the end of the variant there")
    finish(process)
    assert without_host(matrix.results()) == local[:1]
    (result,) = matrix.results()
    assert result is not None and result.host not in ("", host.host().address)
    matrix.nothing_left()
    assert len(list((host.state / "nightly-agent").iterdir())) == 1, "nobody was there to remove it"
    finish(Matrix(tmp_path / "again", 3, 2.0).start(net))
    # Removed by the next agent there: the fixture looks.
