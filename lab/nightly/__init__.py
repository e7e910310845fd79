# SPDX-License-Identifier: GPL-2.0-or-later
"""Every new version of every series, every night: intake, matrix, comparison, history, site."""
