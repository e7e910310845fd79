# SPDX-License-Identifier: GPL-2.0-or-later
"""What Avocado loads: a runner, spawners, a varianter, a resolver and a result of kind ``hvlab``."""
