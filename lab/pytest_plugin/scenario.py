# SPDX-License-Identifier: GPL-2.0-or-later
"""The scenario mark: what a test decides, what it needs, how it boots."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import pytest


@dataclass(frozen=True, slots=True)
class ScenarioMark:
    """Arguments of ``@pytest.mark.scenario``.

    ``claims`` it decides; ``needs`` abilities of the kernel under test (see abilities.py), without
    which there is nothing to judge; ``quick`` puts it into the set that a warm validate runs first, as
    does a claim that the series names, unless it is ``slow``;
    ``kernel_args`` are added to the root's command line (scenarios with equal ones share a boot), and so are
    ``extra_args``, which the scenario does without on a machine that the lab does not boot;
    ``expects`` names splat classes that are part of the scenario; ``unmodelled_ok`` lifts the rule
    that a call which the stand-in does not model makes the scenario inconclusive; ``unfixed`` boots the
    kernel without the lab's own base fixes, so that what they mend can be shown; ``detectors`` are
    those that the scenario lives from (see lab.judge.armed): on a flavour without them it is not
    applicable; ``slat_left`` switches the audit of the SLAT at the end off, and says why.
    """

    claims: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    quick: bool = False
    slow: bool = False
    kernel_args: tuple[str, ...] = ()
    extra_args: tuple[str, ...] = ()
    expects: tuple[str, ...] = ()
    unmodelled_ok: bool = False
    unfixed: bool = False
    detectors: tuple[str, ...] = ()
    slat_left: str = ""


_KNOWN = {f.name for f in fields(ScenarioMark)}


def scenario_of(item: pytest.Item) -> ScenarioMark | None:
    """The mark of a test, or None for a test that is no scenario.

    Raises pytest.UsageError for an argument that the mark does not have.
    """
    mark = item.get_closest_marker("scenario")
    if mark is None:
        return None
    unknown = set(mark.kwargs) - _KNOWN
    if unknown or mark.args:
        raise pytest.UsageError(
            f"{item.nodeid}: scenario mark has no argument {', '.join(sorted(unknown)) or 'by position'}; "
            f"it takes {', '.join(sorted(_KNOWN))}"
        )
    values: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list | tuple) else v for k, v in mark.kwargs.items()
    }
    return ScenarioMark(**values)


def scenario_id(item: pytest.Item) -> str:
    """Stable short id: the test's name without ``test_``, with its parameters."""
    return item.name.removeprefix("test_")
