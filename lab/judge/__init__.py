# SPDX-License-Identifier: GPL-2.0-or-later
"""Judging: pure functions from records (logs, ledger, SLAT, outcomes) to findings and verdicts.

Nothing here touches a machine, a file or the clock; what is read comes in as arguments.
"""
