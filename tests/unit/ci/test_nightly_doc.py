# SPDX-License-Identifier: GPL-2.0-or-later
"""docs/nightly.md says what the commands take."""

from __future__ import annotations

import importlib.util
import re
import shlex

from lab import lease
from lab.cli.main import build_parser
from lab.nightly import old_runs, retention
from lab.paths import repo_root

DOC = (repo_root() / "docs" / "nightly.md").read_text()
BLOCKS = "\n".join(re.findall(r"^```sh\n(.*?)^```", DOC, re.MULTILINE | re.DOTALL))


def test_its_commands_are_ones_that_hvlab_knows() -> None:
    commands = [shlex.split(line, comments=True)[1:] for line in BLOCKS.splitlines() if line]
    assert [words[0] for words in commands] == ["nightly"] * 3 + ["gc"] * 3
    for words in commands:
        if words[0] == "nightly" and importlib.util.find_spec("lab.cli.nightly") is None:
            continue
        build_parser().parse_args(words)


def test_its_defaults_of_gc_are_the_real_ones() -> None:
    args = build_parser().parse_args(["gc"])
    table = dict(re.findall(r"^\| `(--[\w-]+)[^|]*\| (\S[^|]*?) \|", DOC, re.MULTILINE))
    assert (table["--keep-days"], table["--keep-runs"]) == (f"{args.keep_days:g}", str(args.keep_runs))
    assert (args.keep_days, args.keep_runs) == (retention.KEEP_DAYS, old_runs.KEEP_RUNS)
    assert (table["--max-size"], table["--out"]) == ("no limit", "none")
    assert args.max_size is None and args.out == []
    assert f"more than {lease.MOST} entries" in DOC
