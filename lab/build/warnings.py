# SPDX-License-Identifier: GPL-2.0-or-later
"""What the compiler warned of while a kernel was built, read from the build's log.

A module that starts from the objects of an earlier one compiles only what differs; what was said of the
other objects when they were made is carried over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from lab.model.kernel import KernelImage

LOG = "build.log"
KEPT = "warnings.txt"
_WARNING = re.compile(r"^(\S+?):(\d+)(?::\d+)?: warning: (.*)$")
_ERROR = re.compile(r"^(\S+?):(\d+)(?::\d+)?: (?:fatal )?error: (.*)$")
_COMPILED = re.compile(r"^  CC +(?:\[M\] +)?(\S+)\.o$")
_SOURCE = re.compile(r"^(?:\S*?/)?src/")
"""The folder in which a build sees its source, whether it names it from the root or from the objects."""


def parse(lines: Iterable[str]) -> tuple[str, ...]:
    """Warnings of a compiler in a build's log, each once: ``FILE:LINE: TEXT [-WOPTION]``."""
    return _said(_WARNING, lines)


def errors(lines: Iterable[str]) -> tuple[str, ...]:
    """Errors of a compiler in a build's log, as :func:`parse`."""
    return _said(_ERROR, lines)


def together(lines: Iterable[str], earlier: Iterable[str]) -> tuple[str, ...]:
    """Warnings of a log, and those of an ``earlier`` build whose file was not compiled again."""
    log = list(lines)
    again = {f"{m[1]}.c" for m in map(_COMPILED.match, log) if m}
    kept = [warning for warning in earlier if warning.split(":", 1)[0] not in again]
    return tuple(dict.fromkeys([*kept, *parse(log)]))


def keep(entry: Path, earlier: Iterable[str]) -> None:
    """Write down beside a build's log what holds for its objects."""
    said = together(_log(entry), earlier)
    (entry / KEPT).write_text("".join(f"{warning}\n" for warning in said))


def read(entry: Path) -> tuple[str, ...]:
    """What was warned of for the objects of a cache entry; nothing is known of one without a log."""
    if (entry / KEPT).is_file():
        return tuple((entry / KEPT).read_text().splitlines())
    return parse(_log(entry))


def of_image(image: KernelImage) -> tuple[str, ...]:
    """What was warned of when this kernel, or the module that makes it another one, was built."""
    return read((image.modules[0] if image.modules else image.bzimage).parent)


def _said(pattern: re.Pattern[str], lines: Iterable[str]) -> tuple[str, ...]:
    found = (pattern.match(line) for line in lines)
    return tuple(
        dict.fromkeys(f"{_SOURCE.sub('', m[1], count=1)}:{m[2]}: {m[3].strip()}" for m in found if m)
    )


def _log(entry: Path) -> list[str]:
    path = entry / LOG
    return path.read_text(errors="replace").splitlines() if path.is_file() else []
