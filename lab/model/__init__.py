# SPDX-License-Identifier: GPL-2.0-or-later
"""Frozen data that every room shares. Imports nothing else of ``lab`` and does no I/O."""
