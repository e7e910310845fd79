# SPDX-License-Identifier: GPL-2.0-or-later
"""Where kernel sources come from: Debian's linux-source package, a tarball, a git tree."""

from lab.source.specs import resolve

__all__ = ["resolve"]
