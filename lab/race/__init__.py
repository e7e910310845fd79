# SPDX-License-Identifier: GPL-2.0-or-later
"""Forced interleavings: recipes, the points they name, the engine that holds threads there, the outcome."""
