# SPDX-License-Identifier: GPL-2.0-or-later
"""Bundles: what is written is read back, what is no bundle is refused, and what changed is told."""

import json
from types import SimpleNamespace

import pytest

from lab.model.errors import BadInput
from lab.model.kernel import SourceLock
from lab.model.race import Attempt, Event, HoldKind, Outcome
from lab.race import bundle
from lab.race.recipes import named

ATTEMPT = Attempt(
    Outcome.REACHED,
    "",
    0.2,
    (Event(0.0, "vp", "begins: touch 1"), Event(0.1, "vmm", "has ended", 1)),
    {"vp": HoldKind.SPIN},
    ("8 pages",),
)
HASHES = {"lab": "0", "kernel": "k", "qemu": "7.2.22"}


@pytest.fixture
def saved(tmp_path, monkeypatch):
    lock = SourceLock("debian", "linux-source-7.3", "7.3.4-1", "0" * 64)
    kernel = SimpleNamespace(source=SimpleNamespace(lock=lock))
    runner = SimpleNamespace(kernels=SimpleNamespace(kernel=lambda side, flavour, where: kernel))
    monkeypatch.setattr(bundle, "hashes", lambda runner, kernel: HASHES)
    folder = tmp_path / "new" / "bundle"
    recipe = named("removal-while-a-vp-maps")
    bundle.save(folder, recipe, "racy", ATTEMPT, runner, seed=5, schedule="schedule 3")
    return folder


def test_read_back(saved):
    found = bundle.load(saved)
    assert found.recipe.id == "removal-while-a-vp-maps"
    assert found.recipe.order == named("removal-while-a-vp-maps").order
    assert (found.outcome, found.hashes, found.seed) == (Outcome.REACHED, HASHES, 5)
    assert found.events == bundle.order_of(ATTEMPT) == (("vp", "begins: touch 1"), ("vmm", "has ended"))
    assert "hvlab race replay" in (saved / bundle.README).read_text()


def test_nothing_is_overwritten(saved):
    with pytest.raises(BadInput, match="already"):
        bundle.check_free(saved)
    with pytest.raises(BadInput, match="already"):
        bundle.check_free(saved / bundle.RECIPE)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format", 2),
        ("outcome", "splendid"),
        ("events", [{"actor": "vp"}]),
        ("events", 3),
        ("hashes", ["x"]),
        ("seed", "x"),
        ("side", "middle"),
        ("side", None),
    ],
)
def test_damaged(saved, key, value):
    file = saved / bundle.FACTS
    data = json.loads(file.read_text())
    file.write_text(json.dumps(data | {key: value}))
    with pytest.raises(BadInput) as caught:
        bundle.load(saved)
    assert bundle.FACTS in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{", "{}"])
def test_no_bundle(saved, text):
    (saved / bundle.FACTS).write_text(text)
    with pytest.raises(BadInput, match="not a bundle"):
        bundle.load(saved)


def test_a_recipe_must_be_there(saved):
    (saved / bundle.RECIPE).unlink()
    with pytest.raises(BadInput, match="no such recipe"):
        bundle.load(saved)


def test_what_changed():
    now = HASHES | {"qemu": "10.0.2", "new": "1"}
    assert bundle.changed(HASHES, now) == ("qemu: 7.2.22 then, 10.0.2 now", "new: nothing then, 1 now")
    assert not bundle.changed(HASHES, dict(HASHES))


def test_same_order_needs_the_same_outcome(saved):
    found = bundle.load(saved)
    clean = Attempt(Outcome.CLEAN, "", 0.1, ATTEMPT.events)
    other = Attempt(Outcome.REACHED, "", 0.1, ATTEMPT.events[::-1])
    said = bundle.Replay(found, (ATTEMPT, clean, other), ())
    assert (said.same_outcome, said.same_order) == (2, 1)
