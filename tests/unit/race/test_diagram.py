# SPDX-License-Identifier: GPL-2.0-or-later
"""Diagrams: one lane an actor, holds are seen, and nothing that a kernel says gets out of its place."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from lab.model.race import Attempt, Event, HoldKind, Outcome
from lab.race.diagram import lanes, svg

EVENTS = (
    Event(0.0, "vp", "begins: touch 1"),
    Event(0.01, "vp", "at f: a(<b>&c);: drivers/hv/x.c:12, held (spin)", 1),
    Event(0.01, "vmm", "begins: remove"),
    Event(0.08, "vmm", "has ended"),
    Event(0.09, "vp", "released", 1),
)
ATTEMPT = Attempt(
    Outcome.REACHED, "", 0.1, EVENTS, {"vp": HoldKind.SPIN}, ("<script>alert(1)</script> pages left",)
)


def test_lanes_show_who_is_held_while_others_go_on():
    lines = lanes(ATTEMPT, ["vp", "vmm"])
    assert lines[0].split() == ["vp", "vmm"]
    (ended,) = [line for line in lines if "has ended" in line]
    assert "#" in ended and ended.index("#") < ended.index("has ended")
    (first,) = [line for line in lines if "begins: touch" in line]
    assert "#" not in first
    assert lines[-1].strip() == "reached"


def test_attempt_without_events_has_no_lanes():
    assert lanes(Attempt(Outcome.BROKEN, "x", 0.0), ["vp"]) == []


def test_picture_is_xml_and_escapes_what_the_kernel_says():
    picture = svg(ATTEMPT, ["vp", "vmm"], "<title>")
    root = ET.fromstring(picture)
    assert root.tag.endswith("svg")
    assert "<script>" not in picture and "<b>" not in picture
    holds = [node for node in root.iter() if node.tag.endswith("rect")]
    assert len(holds) == 1 and float(holds[0].get("height", "0")) > 0
    circles = [node for node in root.iter() if node.tag.endswith("circle")]
    assert len(circles) == len(EVENTS)
