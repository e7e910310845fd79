# SPDX-License-Identifier: GPL-2.0-or-later
"""hvlab: integration test lab for Linux kernels that run on top of Microsoft's hypervisor."""

__version__ = "0.1.0"
