# SPDX-License-Identifier: GPL-2.0-or-later
"""The walk: fetch, apply, build, image, boot, drive, judge, report, on base and patched."""
