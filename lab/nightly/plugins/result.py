# SPDX-License-Identifier: GPL-2.0-or-later
"""The end of ``avocado run``: for each variant its verdict, the first reason and where it lies."""

from __future__ import annotations

from typing import Any

from avocado.core.output import LOG_UI
from avocado.core.plugin_interfaces import Result

from lab.nightly.plugins.runner import EXTRA
from lab.printable import printable


class HvlabResult(Result):
    """Printed where Avocado prints its own messages."""

    name = "hvlab"
    description = "Verdict, first reason and folder of each variant"

    def render(self, result: Any, job: Any) -> None:
        """Called once when all is done."""
        del job
        for text in lines(result.tests):
            LOG_UI.info(text)


def lines(tests: list[dict[str, Any]]) -> list[str]:
    """One line for each variant among ``tests`` (Avocado's last message of each)."""
    told = []
    for test in tests:
        if (extra := test.get(EXTRA)) is not None:
            verdict = "lost" if test["status"] == "ERROR" else extra["verdict"]
            reason = f": {test['fail_reason']}" if test.get("fail_reason") else ""
            told.append(printable(f"{extra['id']}: {verdict}{reason}  {extra['folder']}"))
    return told
