# SPDX-License-Identifier: GPL-2.0-or-later
"""What Avocado gets to see of variants and results."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from avocado.core.nrunner.runnable import Runnable
from avocado.core.varianter import dump_variant

from lab.model.nightly import BaseFound, BaseGuess, Variant, VariantResult, VariantTask
from lab.model.verdict import Verdict
from lab.nightly import agent, remote, store
from lab.nightly.frames import BadFrame, Kind
from lab.nightly.outcome import Place
from lab.nightly.plugins.result import lines
from lab.nightly.plugins.runner import finished, place_of
from lab.nightly.plugins.varianter import avocado_variant, variant_of

VARIANT = Variant("debug", "kvm-root", ("cpus=4",), ("a", "b=c"), 12.5)


def test_a_host_with_another_checkout_is_refused() -> None:
    ours = agent.about()
    remote.agree((Kind.HELLO, json.dumps(ours).encode()))
    with pytest.raises(BadFrame, match="code x instead of"):
        remote.agree((Kind.HELLO, json.dumps({**ours, "code": "x"}).encode()))
    with pytest.raises(BadFrame, match="disk full"):
        remote.agree((Kind.ERROR, b"disk full"))


def test_another_host_can_only_say_text() -> None:
    write = {"status": "running", "type": "file", "path": "/etc/x", "log": b"data", "encoding": None}
    assert remote.harmless(write) == {"status": "running", "type": "stdout", "log": b"data"}
    assert remote.harmless({"status": "started", "output_dir": "/x"}) == {"status": "started"}
    assert remote.harmless({"status": "running", "log": {"a": 1}}) == {"status": "running"}


def record(folder: Path) -> Path:
    task = VariantTask("s/v2/plain", "../s.mbox", BaseGuess(BaseFound.NONE, ""), Variant(), "../plain")
    store.save(folder / "tasks" / "t.json", task)
    return folder / "tasks" / "t.json"


def test_a_variant_survives_avocado() -> None:
    assert variant_of(dump_variant(avocado_variant(VARIANT))) == VARIANT
    assert variant_of(None) is None
    assert variant_of({"variant": [("/other", [("/other", "flavour", "x")])]}) is None


def test_a_variant_of_the_matrix_gets_a_record_of_its_own(tmp_path: Path) -> None:
    runnable = Runnable("hvlab", str(record(tmp_path)), output_dir=str(tmp_path / "deep" / "out"))
    assert place_of(runnable).folder == tmp_path / "plain"
    runnable.variant = dump_variant(avocado_variant(VARIANT))
    place = place_of(runnable)
    assert place.task.variant == VARIANT and place.task.id == f"s/v2/{VARIANT.id}"
    assert place.folder == tmp_path / "deep" / "out" / "result"
    assert os.path.normpath(place.file.parent / place.task.series) == str(tmp_path / "s.mbox")
    assert place.task.claims == ""


@pytest.mark.parametrize(
    ("result", "status", "told"),
    [
        (VariantResult(Variant(), Verdict.PASS), "pass", "pass"),
        (VariantResult(Variant(), Verdict.FAIL, ("one", "two")), "fail", "fail: one"),
        (
            VariantResult(Variant(), Verdict.INCONCLUSIVE, ("odd\x1b[1m",)),
            "warn",
            "inconclusive: odd\ufffd[1m",
        ),
        (VariantResult(Variant(), Verdict.INCONCLUSIVE, ("x",), lost="no host"), "error", "lost: no host"),
        (None, "error", None),
    ],
)
def test_avocado_hears_the_verdict_and_the_first_reason(
    tmp_path: Path, result: VariantResult | None, status: str, told: str | None
) -> None:
    place = Place.of(record(tmp_path))
    if result is not None:
        store.save(place.folder / "variant.json", result)
    last = finished(place)
    assert last["result"] == status
    expected = [f"s/v2/plain: {told}  {tmp_path}/plain"] if told else []
    assert lines([{**last, "status": status.upper()}, {"status": "PASS"}]) == expected
