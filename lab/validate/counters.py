# SPDX-License-Identifier: GPL-2.0-or-later
"""The counters of a profiled kernel, kept from guest to guest while scenarios run.

They are read after every scenario, so that a guest that dies takes no more with it than what the
scenario in which it died ran. Folder: ``guest-N/OBJECT.gcda`` (the path quoted), and ``taken.jsonl``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote

from lab.model.errors import LabError
from lab.root.gcov import read_counters
from lab.validate.base import BaseLab

_LOG = "taken.jsonl"
_ENDING = ".gcda"


class CounterKeeper:
    """Takes counters into a folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._guest = 0
        self._log = folder / _LOG
        self._log.write_text("")

    def booted(self) -> None:
        """From now on it is another guest, whose counters began at nothing."""
        self._guest += 1

    def take(self, lab: BaseLab | None, scenario: str) -> None:
        """Keep what ``lab`` has counted up to the end of a scenario, or that it could not be read."""
        why = ""
        try:
            if lab is None or not lab.alive():
                raise LabError("the guest is dead")
            found = read_counters(lab.root)
            if not found:
                raise LabError("the kernel shows no profiled object")
            place = self._folder / f"guest-{self._guest}"
            place.mkdir(exist_ok=True)
            for name, data in found.items():
                (place / (quote(name, safe="") + _ENDING)).write_bytes(data)
        except LabError as e:
            why = e.what
        with self._log.open("a") as log:
            log.write(json.dumps({"scenario": scenario, "guest": self._guest, "lost": why}) + "\n")


@dataclass(slots=True)
class Taken:
    """What lies in such a folder. ``counters``: (guest, path of the object in the build, file)."""

    scenarios: int = 0
    lost: dict[str, str] = field(default_factory=dict)
    counters: list[tuple[int, str, Path]] = field(default_factory=list)

    @property
    def guests(self) -> int:
        """Guests that left counters."""
        return len({guest for guest, _, _ in self.counters})


def read_taken(folder: Path) -> Taken:
    """Read the folder; a run that was cut short left what it had."""
    taken = Taken()
    log = folder / _LOG
    for line in log.read_text().splitlines() if log.is_file() else []:
        try:
            said = json.loads(line)
        except ValueError:
            break
        taken.scenarios += 1
        if said["lost"]:
            taken.lost[said["scenario"]] = said["lost"]
    for file in sorted(folder.glob(f"guest-*/*{_ENDING}")):
        guest = int(file.parent.name.removeprefix("guest-"))
        taken.counters.append((guest, unquote(file.name.removesuffix(_ENDING)), file))
    return taken
