# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU seen from the host: command line, process, console, QMP, shared RAM, state on disk.

This room knows QEMU but not Linux. A :class:`~lab.machine.process.Machine` lives in the folder of a
:class:`~lab.machine.state.Lab`; whatever waits for it does so through its
:class:`~lab.machine.watch.Watch`, which ends the wait when the machine dies.
"""
