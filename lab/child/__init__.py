# SPDX-License-Identifier: GPL-2.0-or-later
"""The child partition: MMIO accesses through ``mshv-vmm``."""
