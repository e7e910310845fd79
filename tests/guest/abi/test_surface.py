# SPDX-License-Identifier: GPL-2.0-or-later
"""The list of the whole interface against the kernel's source, and against the stand-in that runs."""

from __future__ import annotations

import dataclasses
import re
import sys
import tomllib
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from ask import Script, ask
from truth import STATIC, STRANGERS, Asked, attach, lies, questions

from lab import paths
from lab.build.standin import build_standin
from lab.hypervisor.names import Event
from lab.machine.qemu import find_qemu
from lab.model.surface import Entry, State
from lab.progress import NullProgress
from lab.surface import listing, sites
from lab.surface.derive import Derived, derive_tree
from lab.surface.listing import Surface
from lab.validate.kernels import Selectors, fetch, open_cache, read_series


@pytest.fixture(scope="module")
def derived() -> Derived:
    """Everything that the default base issues."""
    series = read_series(Selectors(series=str(paths.tests_dir() / "series" / "mmio-on-demand")))
    return derive_tree(fetch(Selectors(), series, open_cache(), NullProgress()).tree)


@pytest.fixture(scope="module")
def surface() -> Surface:
    return listing.load()


# ---- the list against the source ----
def test_everything_that_the_kernel_issues_is_in_the_list(derived: Derived, surface: Surface) -> None:
    found = [
        f"{u.kind} {u.name or hex(u.number or 0)} by {u.site}" for u in listing.missing(derived, surface)
    ]
    assert not found, "\n".join(found)


def test_every_call_has_a_code_that_the_source_names(derived: Derived, surface: Surface) -> None:
    found = [f"{u.site}, line {u.line}" for u in listing.undeclared(derived, surface)]
    assert not found, "hypercalls with a code that is no constant:\n" + "\n".join(found)


def test_numbers_in_the_list_are_those_of_the_headers(derived: Derived, surface: Surface) -> None:
    assert listing.misnamed(derived, surface) == []


def test_every_entry_has_somebody_who_issues_it(derived: Derived, surface: Surface) -> None:
    assert [e.name for e in listing.unissued(derived, surface)] == []


def test_each_removed_entry_is_noticed(derived: Derived, surface: Surface) -> None:
    """Also those that stand for a row of numbers; only what somebody else issues may go unnoticed here."""
    unnoticed, tried = [], 0
    for entry in surface:
        used = [u for u in derived.uses if u.kind == entry.kind and surface.find(u) is entry]
        if not used:
            assert entry.by, entry
            continue
        tried += 1
        left = listing.missing(derived, surface.without(entry))
        if not {u.number for u in left} & set(entry.numbers):
            unnoticed.append(entry.name)
    assert not unnoticed
    assert tried > 150, f"only {tried} entries have a call site: is the source being read?"


# ---- the list against the stand-in ----
STRANGERS_AS_ENTRIES = [
    Entry(kind, f"nobody's {number:#x}", number, State.REFUSED, answer=answer, why="not in the interface")
    for kind, number, answer in STRANGERS
]


def answers(surface: Surface, folder: Path, arguments: str) -> list[Asked]:
    """Every entry, asked for by a bare-metal partition on the real stand-in, with what the ledger says."""
    script = Script()
    entries = questions(Surface([*STRANGERS_AS_ENTRIES, *surface], {}), script)
    standin, qemu = build_standin(open_cache()), find_qemu()
    command = [*(qemu.command or (str(qemu.path),)), *(w for d in qemu.data_dirs for w in ("-L", str(d)))]
    records = ask(script, folder, command, standin.elf, standin.symbols, arguments)
    attach(entries, records, int(Event.MARK))
    return entries


@pytest.fixture(scope="module")
def asked(surface: Surface, tmp_path_factory: pytest.TempPathFactory) -> list[Asked]:
    """By a root partition."""
    return answers(surface, tmp_path_factory.mktemp("probe"), "cpus=1")


def test_l1vh_parent_gets_what_the_list_says(surface: Surface, tmp_path: Path) -> None:
    different = [e for e in surface if e.l1vh]
    assert len(different) > 9, "a root's own calls are denied"
    entries = answers(surface.for_l1vh(), tmp_path, "cpus=1 parent=l1vh")
    found = list(lies([a for a in entries if a.entry not in STRANGERS_AS_ENTRIES]))
    assert not found, "\n".join(found)


def test_stand_in_does_what_the_list_says(asked: list[Asked], surface: Surface) -> None:
    assert {a.entry.kind for a in asked} | STATIC == {e.kind for e in surface}
    listed = [a for a in asked if a.entry not in STRANGERS_AS_ENTRIES]
    assert len(listed) == sum(e.kind not in STATIC for e in surface)
    assert not (found := list(lies(listed))), "\n".join(found)


def test_what_is_in_no_list_is_refused_as_the_interface_defines(asked: list[Asked], surface: Surface) -> None:
    strangers = [a for a in asked if a.entry in STRANGERS_AS_ENTRIES]
    assert len(strangers) == len(STRANGERS)
    assert not [a.entry for a in strangers if surface.number(a.entry.kind, a.entry.number)]
    assert not (found := list(lies(strangers))), "\n".join(found)


@pytest.mark.parametrize("kind", ["hypercall", "msr", "cpuid", "register", "partition_property"])
def test_wrong_state_is_noticed(asked: list[Asked], kind: str) -> None:
    """The check itself: what is implemented is called refused, and the other way round."""
    turned: list[Asked] = []
    for a in asked:
        # A call that is refused for what it asks has a code that is known all the same.
        known = a.entry.kind == "hypercall" and a.entry.answer not in ("", "INVALID_HYPERCALL_CODE")
        if a.entry.kind == kind and a.entry.state is not State.IGNORED and not known and not list(lies([a])):
            refused = a.entry.state is State.REFUSED
            answer = "" if refused else {"msr": "#GP", "cpuid": "zeros"}.get(kind, "INVALID_HYPERCALL_CODE")
            state = State.IMPLEMENTED if refused else State.REFUSED
            turned.append(
                dataclasses.replace(a, entry=dataclasses.replace(a.entry, state=state, answer=answer))
            )
    assert len(list(lies(turned))) == len(turned) > 3


def test_messages_and_schedulers_are_in_the_stand_ins_source_as_the_list_says(surface: Surface) -> None:
    header = (paths.images_dir() / "hypervisor" / "abi.h").read_text()
    names = {
        int(value, 16): name
        for name, value in re.findall(
            r"^#define\s+(MSG_\w+|SCHEDULER_\w+)\s+(0x[0-9a-f]+|\d)u?\b", header, re.MULTILINE
        )
        if name != "MSG_FLAG_PENDING"
    }
    code = "".join(
        p.read_text() for p in (paths.images_dir() / "hypervisor").glob("*.c") if p.name != "abi_check.c"
    )
    wrong = []
    for entry in surface:
        if entry.kind not in STATIC or entry.number == 0:
            continue
        prefix = "MSG_" if entry.kind == "message" else "SCHEDULER_"
        name = names.get(entry.number, "") if names.get(entry.number, "").startswith(prefix) else ""
        there = bool(name) and re.search(rf"\b{name}\b", code) is not None
        if there != (entry.state is State.IMPLEMENTED):
            wrong.append(
                f"{entry.name} is {entry.state} in the list, {'used' if there else 'not used'} in the source"
            )
    assert not wrong, "\n".join(wrong)


def test_entry_type_is_frozen(surface: Surface) -> None:
    """Entries are data: a test that turns one must not turn it for others."""
    entry = next(iter(surface))
    assert isinstance(entry, Entry)
    with pytest.raises(dataclasses.FrozenInstanceError):
        entry.state = State.IGNORED  # type: ignore[misc]


def test_sites_are_those_of_the_kernel_that_they_were_made_for(surface: Surface) -> None:
    """`hvlab surface --sites` makes the file; it is not edited."""
    series = read_series(Selectors(series=str(paths.tests_dir() / "series" / "mmio-on-demand")))
    source = fetch(Selectors(), series, open_cache(), NullProgress())
    recorded = tomllib.loads(sites.path().read_text())
    names = {(kind, name) for kind, table in recorded.items() if isinstance(table, dict) for name in table}
    assert names == {(e.kind, e.name) for e in surface}, (
        "run hvlab surface --sites > images/surface/sites.toml"
    )
    if recorded["kernel"] == str(source.version):
        assert sites.text(derive_tree(source.tree), surface, str(source.version)) == sites.path().read_text()
