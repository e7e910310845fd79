# SPDX-License-Identifier: GPL-2.0-or-later
"""The kinds of things that the interface names, and how to tell a name's kind."""

from __future__ import annotations

import re

from lab.surface.constants import Constants

SYNTHETIC_MSRS = range(0x40000000, 0x50000000)
CPUID_LEAVES = range(0x40000000, 0x40010000)

_BY_GROUP = {
    "hv_register_name": "register",
    "hv_partition_property_code": "partition_property",
    "hv_system_property": "system_property",
    "hv_dynamic_processor_feature_property": "system_property",
    "hv_message_type": "message",
    "hv_port_type": "port_type",
    "hv_get_set_vp_state_type": "vp_state",
    "hv_vp_state_page_type": "vp_state_page",
    "hv_stats_object_type": "stats_object",
    "hv_partition_event": "partition_event",
    "hv_intercept_type": "intercept",
    "hv_sleep_state": "sleep_state",
    "hv_scheduler_type": "scheduler",
}
_BY_NAME = (
    ("hypercall", re.compile(r"HVCALL_\w+|HV_EXT_CALL_\w+")),
    ("msr", re.compile(r"HV_(X64_|SYN_)?MSR_\w+")),
    ("cpuid", re.compile(r"HYPERV_CPUID_\w+")),
    ("register", re.compile(r"HV_(X64_)?REGISTER_\w+")),
    ("partition_property", re.compile(r"HV_PARTITION_PROPERTY_\w+")),
    ("system_property", re.compile(r"HV_SYSTEM_PROPERTY_\w+")),
    ("message", re.compile(r"HVMSG_\w+")),
    ("port_type", re.compile(r"HV_PORT_TYPE_\w+")),
    ("intercept", re.compile(r"HV_INTERCEPT_TYPE_\w+")),
    ("vp_state", re.compile(r"HV_GET_SET_VP_STATE_\w+")),
    ("vp_state_page", re.compile(r"HV_VP_STATE_PAGE_\w+")),
    ("stats_object", re.compile(r"HV_STATS_OBJECT_\w+")),
    ("partition_event", re.compile(r"HV_PARTITION_EVENT_\w+")),
)
_NO_NUMBER_OF_ITS_OWN = frozenset({"HYPERV_CPUID_MIN", "HYPERV_CPUID_MAX", "HV_GET_SET_VP_STATE_TYPE_PFN"})
"""Bounds that are compared with and flags that are added: nobody asks for them."""
KINDS = tuple(dict.fromkeys([*(kind for kind, _ in _BY_NAME), *_BY_GROUP.values()]))
WORDS = {
    "hypercall": "hypercalls",
    "msr": "synthetic MSRs",
    "cpuid": "CPUID leaves",
    "register": "VP registers",
    "partition_property": "partition properties",
    "system_property": "system properties",
    "message": "message types",
    "port_type": "port types",
    "vp_state": "VP state types",
    "vp_state_page": "VP state pages",
    "stats_object": "statistics objects",
    "partition_event": "partition events",
    "intercept": "intercept types",
    "sleep_state": "sleep states",
    "scheduler": "scheduler types",
}


def kind_of(name: str, constants: Constants) -> str:
    """The kind of a name as it stands in source, empty for a name of no kind.

    A name of the right form without a known number has its kind too: a series may define it where
    nobody looks.
    """
    if name in _NO_NUMBER_OF_ITS_OWN:
        return ""
    by_group = _BY_GROUP.get(constants.group(name), "")
    if by_group:
        return by_group
    kind = next((k for k, form in _BY_NAME if form.fullmatch(name)), "")
    value = constants.value(name)
    if kind in ("msr", "cpuid"):
        # Feature bits, shifts and masks are named like MSRs.
        return (
            kind if value is not None and value in (SYNTHETIC_MSRS if kind == "msr" else CPUID_LEAVES) else ""
        )
    return kind
