# SPDX-License-Identifier: GPL-2.0-or-later
"""Fragments, flavours and what Kconfig made of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.build import config, flavours
from lab.model.errors import BadInput, KernelBuildFailed
from lab.model.series import KernelVersion

V = KernelVersion(7, 3, 4)


def fragment(tmp_path: Path, name: str, text: str) -> Path:
    (tmp_path / name).write_text(text)
    return tmp_path / name


def test_a_later_fragment_wins_and_unset_is_n(tmp_path: Path) -> None:
    one = fragment(tmp_path, "one", '# comment\nCONFIG_A=y\nCONFIG_B=y\nCONFIG_S="x y"\n\n')
    two = fragment(tmp_path, "two", "# CONFIG_B is not set\nCONFIG_C=m\n")
    merged = config.merge([one, two])
    assert merged == {"A": "y", "B": "n", "S": '"x y"', "C": "m"}
    assert config.parse(config.render(merged)) == merged


def test_a_typing_error_in_a_fragment_is_refused_with_its_line(tmp_path: Path) -> None:
    bad = fragment(tmp_path, "bad", "CONFIG_A=y\nCONIFG_B=y\n")
    with pytest.raises(BadInput, match="CONIFG_B") as caught:
        config.merge([bad])
    assert caught.value.where == f"{bad}:2"


def test_what_kconfig_did_not_take_is_told_with_the_reason(tmp_path: Path) -> None:
    fragment(tmp_path, "Kconfig", "config A\n\tbool\nmenuconfig B\n")
    wanted = {"A": "y", "B": "n", "NEWER": "y"}
    found = config.check(wanted, {"A": "m", "B": "n"}, tmp_path, V)
    assert [str(m) for m in found] == [
        "CONFIG_A: wanted y, got m",
        "CONFIG_NEWER: wanted y, got n (no such setting in this kernel)",
    ]
    assert config.check({"A": "y"}, {"A": "y"}, tmp_path, V) == []


def test_a_missing_root_driver_is_an_error_that_names_the_kernel(tmp_path: Path) -> None:
    with pytest.raises(KernelBuildFailed, match=r"Linux 7\.3\.4") as caught:
        config.check({"MSHV_ROOT": "y"}, {}, tmp_path, V)
    assert "no such setting in this kernel" in caught.value.detail


def test_the_plain_flavour_asks_for_what_the_lab_needs() -> None:
    plain = flavours.flavour("plain")
    wanted = config.merge(plain.fragments)
    assert {s for s in config.REQUIRED if wanted.get(s) != "y"} == set()
    assert wanted["MODVERSIONS"] == "y" and wanted["LOCALVERSION_AUTO"] == "n"
    assert plain.time_factor == 1.0


def test_an_unknown_flavour_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(BadInput, match="did you mean plain"):
        flavours.flavour("plane")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[x]\nfragments = ["gone"]\n', "fragments missing: \\['gone'\\]"),
        ("[x]\n", "none given"),
        ('[x]\nfragment = ["a"]\n', "unknown keys \\['fragment'\\]"),
        ("x = 1\n", "unknown keys"),
        ("[x\n", "not a flavour table"),
    ],
)
def test_a_wrong_flavour_table_is_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        flavours.load(fragment(tmp_path, "flavours.toml", text))


def test_former_name_is_asked_for_only_where_the_source_has_it(tmp_path: Path) -> None:
    """Linux 7.2 has PROC_SYSCTL, and a SYSCTL that nobody can ask for: /proc/sys was missing there."""
    plain = flavours.flavour("plain")
    new, old = tmp_path / "new", tmp_path / "old"
    for tree, text in ((new, "config SYSCTL\n"), (old, 'config PROC_SYSCTL\n\tbool "x"\n')):
        (tree / "fs/proc").mkdir(parents=True)
        (tree / "fs/proc/Kconfig").write_text(text)
    assert config.wanted(plain, new) == config.wanted(plain, tmp_path) == config.merge(plain.fragments)
    assert config.wanted(plain, old) == {**config.merge(plain.fragments), "PROC_SYSCTL": "y"}
