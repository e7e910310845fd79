# SPDX-License-Identifier: GPL-2.0-or-later
"""The voices of one validation, as files in its output folder."""

from __future__ import annotations

from pathlib import Path

from lab.model.result import ValidateResult
from lab.report import html, junit, mail, result_json
from lab.validate.attachments import collect


def write_reports(result: ValidateResult, out: Path) -> None:
    """result.json, junit.xml, report.html, summary.txt and the lock file in ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "result.json").write_text(result_json.dumps(result) + "\n")
    (out / "junit.xml").write_text(junit.xml(result))
    (out / "report.html").write_text(html.page(result, collect(out)))
    (out / "summary.txt").write_text(mail.text(result))
    (out / "base.lock").write_text(result_json.lock(result) + "\n")
