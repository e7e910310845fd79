# SPDX-License-Identifier: GPL-2.0-or-later
"""The rows of the table of banners, one file for each family."""
