# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds: kernel, module, stand-in, VMM, root file system; one content-addressed cache for all."""
