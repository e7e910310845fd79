# SPDX-License-Identifier: GPL-2.0-or-later
"""Voices of a result: one module each (terminal, JSON, JUnit, HTML, mail), all from ``ValidateResult``.

Every voice is a pure function from the result to text. What is shown comes partly from the guest
(console, splats) and is cleaned of control characters before it reaches a terminal or a file.
"""
