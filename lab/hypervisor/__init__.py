# SPDX-License-Identifier: GPL-2.0-or-later
"""The stand-in hypervisor seen from the host: its RAM file is mapped, nothing inside is disturbed.

:class:`~lab.hypervisor.view.HypervisorView` is the way in. It knows the stand-in's memory layout
(``images/hypervisor/host.h``) and nothing about QEMU or Linux::

    with HypervisorView(ram, symbols, below_4g) as view:
        start = view.position()
        ...
        for record in view.since(start).records:
            print(format_record(record))
"""

from __future__ import annotations

from lab.hypervisor.abi import check_abi
from lab.hypervisor.faults import FaultHandle, FaultPlan
from lab.hypervisor.holds import Hold, HoldPlan, HoldReport
from lab.hypervisor.layout import HoldState
from lab.hypervisor.ledger import callers, decode_record
from lab.hypervisor.record_text import format_record
from lab.hypervisor.slat import SlatDiff, slat_diff
from lab.hypervisor.view import HypervisorView, StandInState

__all__ = [
    "FaultHandle",
    "FaultPlan",
    "Hold",
    "HoldPlan",
    "HoldReport",
    "HoldState",
    "HypervisorView",
    "SlatDiff",
    "StandInState",
    "callers",
    "check_abi",
    "decode_record",
    "format_record",
    "slat_diff",
]
