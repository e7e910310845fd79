# SPDX-License-Identifier: GPL-2.0-or-later
"""Where tasks and CPUs are stuck.

Tasks are read from /proc, because SysRq would print all of them on the slow console; CPUs say it
themselves, by NMI, into the kernel log.
"""

from __future__ import annotations

# Builtins of the shell only, as far as possible: a fork per task costs much in an emulated guest.
TASKS_SCRIPT = r"""
for t in /proc/[0-9]*/task/[0-9]*; do
	IFS= read -r stat 2>/dev/null <$t/stat || continue
	rest=${stat##*) }
	state=${rest%% *}
	case $state in R|D) ;; S) [ -s $t/cmdline ] || continue;; *) continue;; esac
	name=${stat#*(}
	echo "task ${t##*/} (${name%%)*}) state $state"
	cat $t/stack 2>/dev/null
done
"""

CPUS_SCRIPT = "echo l >/proc/sysrq-trigger"
