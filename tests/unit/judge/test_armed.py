# SPDX-License-Identifier: GPL-2.0-or-later
"""A detector without a proof that it fires disarms every pass."""

from __future__ import annotations

from lab.judge.armed import BY_NAME, PROVOKED, by_module, lacking, needs_module, required, unarmed
from lab.model.result import DetectorProof
from lab.model.splat import Splat, SplatClass

COMMON = {"warn", "panic", "hung-task", "ledger-leak", "slat-leak", "ledger-overflow"}


def test_every_flavour_requires_the_common_detectors_and_plain_no_other() -> None:
    assert set(required("plain")) == COMMON
    assert not needs_module("plain")
    for flavour in ("debug", "lockdep", "kasan", "ubsan", "kcsan"):
        assert set(required(flavour)) >= COMMON


def test_the_debug_flavour_requires_what_its_fragments_require_and_what_fired_on_it_alone() -> None:
    parts = {name for flavour in ("lockdep", "kasan", "ubsan") for name in required(flavour)}
    assert set(required("debug")) == parts
    locks = {
        "lockdep",
        "wait-context",
        "atomic-sleep",
        "irq-state",
        "rcu",
        "debug-objects",
        "list",
        "kmemleak",
    }
    assert locks <= set(required("lockdep"))
    assert {"kasan", "kasan-vmalloc"} <= set(required("kasan")) - locks
    assert {"ubsan-bounds", "ubsan-shift"} <= set(required("ubsan")) - locks
    assert needs_module("debug")


def test_kcsan_is_asked_of_its_own_flavour_alone() -> None:
    assert set(required("kcsan")) == COMMON | {"kcsan"}
    assert [f for f in ("plain", "debug", "lockdep", "kasan", "ubsan") if "kcsan" in required(f)] == []
    assert needs_module("kcsan")


def test_a_report_counts_only_for_the_trip_that_it_names() -> None:
    def splat(title: str, *frames: str) -> Splat:
        return Splat(SplatClass.KASAN, title, frames, 0, (title,), "id")

    other = splat("KASAN: slab-use-after-free in mshv_region_get", "mshv_region_get")
    ours = splat("KASAN: slab-use-after-free in lkdtm_READ_AFTER_FREE", "lkdtm_READ_AFTER_FREE")
    assert BY_NAME["kasan"].reported([other, ours]) is ours
    assert BY_NAME["kasan"].reported([other]) is None
    assert BY_NAME["warn"].reported([ours]) is None


def test_what_is_tripped_by_lkdtm_needs_no_module() -> None:
    assert not any(by_module(name) for name in PROVOKED)
    assert not by_module("ledger-overflow")
    assert by_module("ubsan-shift")


def test_missing_and_silent_detectors_are_named() -> None:
    proofs = [DetectorProof("warn", True), DetectorProof("panic", False, "no panic line in 10 s")]
    assert unarmed(proofs, ["warn", "panic", "hung-task"]) == [
        "detector panic stayed silent when tripped (no panic line in 10 s)",
        "detector hung-task was not tripped on this kernel",
    ]


def test_a_detector_that_fired_only_once_of_two_is_unarmed() -> None:
    proofs = [DetectorProof("warn", True), DetectorProof("warn", False)]
    assert unarmed(proofs, ["warn"]) == ["detector warn stayed silent when tripped"]


def test_all_fired_is_armed() -> None:
    assert unarmed([DetectorProof(n, True) for n in required("plain")], required("plain")) == []


def test_a_flavour_lacks_the_detectors_that_it_need_not_prove() -> None:
    assert lacking("plain", ("warn", "no-such", "panic", "no-such")) == ["no-such"]
    assert lacking("plain", required("plain")) == []
