# SPDX-License-Identifier: GPL-2.0-or-later
"""Inside the root partition over SSH: run, copy, kernel log cursor, stacks, VFIO binding."""
