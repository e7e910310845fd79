# SPDX-License-Identifier: GPL-2.0-or-later
"""A detector without a proof that it fires disarms every pass."""

from __future__ import annotations

from lab.judge.armed import DETECTORS, lacking, required, unarmed
from lab.model.result import DetectorProof
from lab.model.splat import SplatClass


def test_plain_requires_the_detectors_of_every_flavour() -> None:
    assert required("plain") == ("warn", "panic", "hung-task", "ledger-leak", "slat-leak")


def test_kernel_log_detectors_say_which_splat_proves_them() -> None:
    assert {d.name: d.splat for d in DETECTORS if d.splat} == {
        "warn": SplatClass.WARNING,
        "panic": SplatClass.PANIC,
        "hung-task": SplatClass.HUNG_TASK,
    }


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
