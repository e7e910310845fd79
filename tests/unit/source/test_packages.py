# SPDX-License-Identifier: GPL-2.0-or-later
"""Packages of guests: apt names them, a week-old answer is good enough, and a missing mirror is no end."""

import json
import os
import time

import pytest

from lab.cache import Cache
from lab.model.errors import LabUnavailable
from lab.progress import NullProgress
from lab.source import packages
from lab.source.packages import Packages

URIS = """'http://mirror.invalid/pool/a/a_1%3a2-3_amd64.deb' a_1%3a2-3_amd64.deb 120 SHA256:00
'http://mirror.invalid/pool/b/b_4_all.deb' b_4_all.deb 34 SHA256:11
"""


@pytest.fixture
def apt(monkeypatch):
    """What apt was asked; ``apt.fails`` makes it fail."""

    class Apt:
        def __init__(self):
            self.asked, self.fails = [], False

        def __call__(self, _self, *argv, what, timeout):
            self.asked.append(argv)
            if self.fails:
                raise LabUnavailable("no mirror")
            return URIS if "--print-uris" in argv else ""

    fake = Apt()
    monkeypatch.setattr(Packages, "_apt", lambda self, *a, **k: fake(self, *a, **k))
    monkeypatch.setattr(packages, "configure_apt_root", lambda root, suites: root.mkdir(exist_ok=True))
    return fake


def test_apt_names_the_packages_and_the_answer_is_kept(tmp_path, apt):
    found = Packages(Cache(tmp_path), NullProgress()).resolve(("a",), backports=True)
    assert found.files == ("a_1%3a2-3_amd64.deb", "b_4_all.deb")
    assert any("--target-release=trixie-backports" in argv for argv in apt.asked)
    asked = len(apt.asked)
    assert Packages(Cache(tmp_path), NullProgress()).resolve(("a",), backports=True) == found
    assert len(apt.asked) == asked, "a fresh answer was asked for again"
    assert Packages(Cache(tmp_path), NullProgress()).resolve(("a",)).key != found.key


def test_old_answer_serves_when_the_mirror_is_gone(tmp_path, apt):
    first = Packages(Cache(tmp_path), NullProgress())
    found = first.resolve(("a",))
    (place,) = (tmp_path / "apt-guest").glob("set-*.json")
    old = time.time() - packages.REFRESH_AFTER - 60
    os.utime(place, (old, old))
    apt.fails = True
    again = Packages(Cache(tmp_path), NullProgress())
    assert again.resolve(("a",)) == found
    assert "7 days old" in again.notes[0]
    place.write_text(json.dumps({"request": ["a"]}))
    with pytest.raises(LabUnavailable):
        Packages(Cache(tmp_path), NullProgress()).resolve(("a",))
