# SPDX-License-Identifier: GPL-2.0-or-later
"""The surface of the interface that software can reach: what source issues, what the stand-in does.

``lexer``, ``conditions``, ``constants`` and ``derive`` read C source and touch nothing else; ``listing``
reads our own list (``images/surface/interface.toml``); ``added`` compares two trees.
"""
