# SPDX-License-Identifier: GPL-2.0-or-later
"""pytest plugin: boots labs, hands out fixtures, turns tests into scenario outcomes.

Mark a test ``@pytest.mark.scenario(claims=("C16",), needs=("map_on_first_touch",), quick=True,
kernel_args=("hv_nofull_mmio",))`` and ask for the fixtures ``lab``, ``root``, ``child``, ``device``,
``edu``, ``ledger``, ``slat``, ``kernel_log``, ``evidence``. ``race`` runs recipes. Nothing boots unless a
test asks.
"""

from lab.pytest_plugin.fixtures import (
    child,
    device,
    edu,
    evidence,
    kernel_log,
    lab,
    ledger,
    race,
    root,
    slat,
)
from lab.pytest_plugin.hooks import (
    pytest_addoption,
    pytest_collection_modifyitems,
    pytest_configure,
    pytest_runtest_makereport,
    pytest_runtest_protocol,
    pytest_sessionfinish,
    pytest_unconfigure,
)

__all__ = [
    "child",
    "device",
    "edu",
    "evidence",
    "kernel_log",
    "lab",
    "ledger",
    "pytest_addoption",
    "pytest_collection_modifyitems",
    "pytest_configure",
    "pytest_runtest_makereport",
    "pytest_runtest_protocol",
    "pytest_sessionfinish",
    "pytest_unconfigure",
    "race",
    "root",
    "slat",
]
