# SPDX-License-Identifier: GPL-2.0-or-later
"""Races without a stated order: found by schedules, brought back by what was written, counted by stress."""

from __future__ import annotations

import json
from pathlib import Path

from lab.model.errors import ExitCode

SEED = "1"


def test_a_race_is_found_written_and_replayed(hvlab, tmp_path: Path) -> None:
    """Nobody tells the order, and what is found runs in processes of its own, on both kernels."""
    recipe, folder = tmp_path / "found.toml", tmp_path / "bundle"
    found = hvlab(
        *("race", "explore", "--recipe", "removal-while-a-vp-maps", "--schedules", "60", "--seed", SEED),
        *("--write", recipe, "--save", folder, "--json"),
        expect=ExitCode.FAIL,
        timeout=1800,
    ).json
    assert found["seed"] == 1
    assert found["hits"] == 1
    assert found["per_minute"] > 5
    assert "SLAT" in found["finding"]["evidence"]
    assert recipe.read_text() == found["finding"]["recipe"]
    run = hvlab("race", "run", recipe, "--attempts", "2", "--json", timeout=300).json["recipes"][0]
    assert run["shown"], run
    assert run["racy"]["reached"] == 2
    again = hvlab("race", "replay", folder, "--times", "2", "--json", timeout=300).json
    assert (again["same_outcome"], again["of"], again["changed"]) == (2, 2, [])
    assert again["mode"] == "outcome only"


def test_a_replay_tells_what_it_was_not_made_of(hvlab, tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    hvlab("race", "run", "removal-while-a-vp-maps", "--attempts", "1", "--save", folder, timeout=1800)
    facts = folder / "removal-while-a-vp-maps" / "bundle.json"
    data = json.loads(facts.read_text())
    data["hashes"]["qemu"], data["outcome"] = "1.2.3", "clean"
    facts.write_text(json.dumps(data))
    done = hvlab("race", "replay", facts.parent, "--times", "1", expect=ExitCode.FAIL, timeout=300)
    assert "the same outcome in 0 of 1" in done.out
    assert "not the same: qemu: 1.2.3 then" in done.out
    done = hvlab("race", "run", "removal-while-a-vp-maps", "--save", folder, expect=ExitCode.BAD_INPUT)
    assert "already" in done.err


def test_the_fixed_kernel_fails_no_schedule_and_no_round(hvlab) -> None:
    said = hvlab(
        *("race", "explore", "--recipe", "munmap-while-a-vp-maps", "--side", "fixed"),
        *("--schedules", "15", "--seed", SEED, "--json"),
        timeout=1800,
    ).json
    assert (said["hits"], said["lost"], said["played"]) == (0, 0, 15)
    counts = hvlab(
        *("race", "stress", "munmap-while-a-vp-maps", "--rounds", "40", "--seed", SEED, "--json"),
        timeout=600,
    ).json["counts"]
    by = {(count["kernel"] == "series mmio-on-demand", count["manner"]): count for count in counts}
    assert len(by) == 4
    for (fixed, manner), count in by.items():
        assert count["rounds"] == 40
        assert count["lost"] == 0
        assert bool(count["delays"]) == (manner == "perturbed")
        if fixed:
            assert not count["hits"], count
    assert by[False, "perturbed"]["hits"], "random delays at the recipe's points come upon it"
