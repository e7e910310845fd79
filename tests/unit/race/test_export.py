# SPDX-License-Identifier: GPL-2.0-or-later
"""Exported recipes, without a kernel: which places are probed, what is compared there, what is refused."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.cli.race_export import source_reader
from lab.model.errors import BadInput
from lab.race.code import ENDBR, ModuleCode
from lab.race.export import Ends, Export, Exporter, check, parse_ends
from lab.race.recipes import load_all, parse, recipes_dir

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no C compiler")

SOURCE = """\
extern void take(void *), give(void *);
extern int lock;
static inline __attribute__((always_inline)) void inlined(int *value)
{
	take(&lock);
	*value += 7;
	give(&lock);
}

int driver_map(int *value)
{
	take(value);
	inlined(value);
	return *value * 3;
}

long mshv_partition_ioctl(void *file, unsigned int command, unsigned long argument)
{
	int value = command;

	take(file);
	inlined(&value);
	return value + (long)argument;
}
"""
RECIPE = """\
title = 'a "title" with */ in it??/'
claims = []
wording = "It is told."
[actors.vp]
comm = "vp-0"
[actors.vmm]
comm = "mshv-vmm"
does = ["remove"]
[[order]]
actor = "vp"
at = { function = "inlined", source = "take(&lock);" }
[[order]]
actor = "vmm"
at = "done"
[[order]]
actor = "vp"
at = "driver_map"
[proof]
pages_left = true
[racy]
stock = true
"""

Make = Callable[..., Export]


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Something like a module: relocatable, traced, with debug information."""
    folder = tmp_path_factory.mktemp("module") / "src"
    folder.mkdir()
    (folder / "driver.c").write_text(SOURCE)
    argv = ["gcc", "-g", "-O2", "-pg", "-mfentry", "-mrecord-mcount", "-mcmodel=kernel", "-fno-pie", "-c"]
    subprocess.run([*argv, "-fcf-protection=none", "-o", "driver.ko", "driver.c"], cwd=folder, check=True)
    subprocess.run([*argv, "-fcf-protection=branch", "-o", "marked.ko", "driver.c"], cwd=folder, check=True)
    return folder / "driver.ko"


@pytest.fixture
def export(module: Path) -> Make:
    def made(text: str = RECIPE, ends: dict[str, Ends] | None = None, ko: Path = module) -> Export:
        recipe = parse(tomllib.loads(text), "a-recipe", "a-recipe.toml")
        read = lambda name: (module.parent / Path(name).name).read_text()  # noqa: E731
        return Exporter(ko, ko, read, "a kernel", ends or {}).export(recipe)

    return made


def test_every_copy_of_a_line_is_a_place(export: Make) -> None:
    first = export().steps[0]
    assert {probe.function for probe in first.probes} == {"driver_map", "mshv_partition_ioctl"}
    assert all(probe.offset for probe in first.probes)


def test_actors_wait_for_their_next_step_or_for_the_end(export: Make) -> None:
    assert [(step.own, step.until) for step in export().steps] == [(-1, 2), (-1, 3), (0, 3)]


def test_action_ends_with_the_return_of_its_ioctl(export: Make) -> None:
    step = export().steps[1]
    assert step.done and [str(probe) for probe in step.probes] == ["mshv_partition_ioctl"]
    assert step.probes[0].command == "MSHV_SET_GUEST_MEMORY"


def test_what_the_kernel_changes_is_not_compared(module: Path) -> None:
    code = ModuleCode(module)
    entry = next(symbol for symbol in code.functions if symbol.name == "driver_map")
    text, mask = code.at(entry.address)
    # The call to the tracer becomes something else; what is behind it stays.
    assert text[0] == 0xE8 and mask[:5] == bytes(5) and mask[6] == 0xFF
    calls = [n for n in range(5, len(text) - 5) if text[n] == 0xE8 and mask[n : n + 5] == bytes(5)]
    assert calls, "a call to a function elsewhere is filled in by the kernel"
    assert len(text) <= entry.size


def test_landing_mark_of_an_entry_is_left_out(export: Make, module: Path) -> None:
    marked = export(ko=module.with_name("marked.ko")).steps[2].probes[0]
    assert marked.offset == 0 and marked.code[: len(ENDBR)] != ENDBR and marked.code[0] == 0xE8


def test_texts_hold_what_was_asked_for(export: Make) -> None:
    made = export()
    texts = made.texts
    assert set(texts) == {"race_a_recipe.c", "Makefile", "README.md"}
    c = texts["race_a_recipe.c"]
    assert c.startswith("// SPDX-License-Identifier: GPL-2.0-or-later\n")
    assert "#define STEPS 3" in c and "#include <linux/mshv.h>" in c
    assert c.count("\t\t.probe.kp.symbol_name") == 4
    # A recipe's words end no comment and no string, and make no trigraph.
    assert "with * / in it" in c and '\\"title\\"' not in c and r"\042title\042" in c
    assert "??/" not in c.split("MODULE_DESCRIPTION")[1]
    assert "race_a_recipe.o" in texts["Makefile"]
    assert "linux/mshv.h" not in export(ends={"vmm": Ends("driver_map")}).texts["race_a_recipe.c"]


def test_generated_code_is_c(export: Make, tmp_path: Path) -> None:
    """As far as can be told without the kernel's headers: parentheses match, no template is left."""
    for text in export().texts.values():
        assert "{{" not in text and "{%" not in text and "None" not in text
    plain = re.sub(r'"(?:\\.|[^"\\])*"|/\*.*?\*/|//[^\n]*', "", export().texts["race_a_recipe.c"], flags=re.S)
    assert all(plain.count(a) == plain.count(b) for a, b in ("{}", "()", "[]"))


def test_function_of_the_kernel_is_taken_at_its_word(export: Make) -> None:
    made = export(RECIPE.replace('"driver_map"', '"mutex_lock"'))
    probe = made.steps[2].probes[0]
    assert (probe.function, probe.offset, probe.code) == ("mutex_lock", 0, b"")
    assert made.notes == ("mutex_lock is not in the driver: its code is not looked at",)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('comm = "vp-0"', "interrupt = true", "an interrupt cannot be kept waiting"),
        ('comm = "vp-0"', 'comm = "a-name-of-16-let"', "an actor has a comm"),
        ('does = ["remove"]', 'does = ["destroy"]', "No one function returns"),
        ('does = ["remove"]', 'does = ["munmap", "remove"]', "No one function returns"),
        ('"driver_map"', '"inlined"', "has no entry of its own"),
        ('"driver_map"', '"driver_map+0x7000"', "lies behind it"),
        ("take(&lock);", "take(lock);", "no line of inlined"),
        (
            'at = "driver_map"',
            'at = { function = "inlined", source = "take(&lock);" }',
            "in step 1 already",
        ),
    ],
)
def test_what_kprobes_cannot_do_is_refused(export: Make, old: str, new: str, why: str) -> None:
    with pytest.raises(BadInput, match=re.escape(why)):
        export(RECIPE.replace(old, new))


def test_another_end_can_be_named(export: Make) -> None:
    ends = parse_ends(["vmm=driver_map"])
    made = export(RECIPE.replace('does = ["remove"]', 'does = ["destroy"]'), ends)
    assert str(made.steps[1].probes[0]) == "driver_map" and not made.steps[1].probes[0].command
    for word in ("vmm", "=x", "vmm=", "vmm=a b"):
        with pytest.raises(BadInput):
            parse_ends([word])
    with pytest.raises(BadInput, match="no actor 'nobody'"):
        export(RECIPE, {"nobody": Ends("x")})


def test_folder_with_other_things_is_left_alone(export: Make, tmp_path: Path) -> None:
    made = export()
    made.write(tmp_path / "new" / "folder")
    made.write(tmp_path / "new" / "folder")
    (tmp_path / "new" / "folder" / "thesis.txt").write_text("mine")
    with pytest.raises(BadInput, match=r"thesis\.txt"):
        made.write(tmp_path / "new" / "folder")


def test_file_that_is_no_module_is_refused(tmp_path: Path) -> None:
    for content in (b"", b"\x7fELF", Path(shutil.which("gcc") or "").read_bytes()):
        (tmp_path / "x.ko").write_bytes(content)
        with pytest.raises(BadInput, match="module"):
            ModuleCode(tmp_path / "x.ko")
    with pytest.raises(BadInput, match="No such file"):
        ModuleCode(tmp_path / "y.ko")


def test_source_is_found_wherever_it_was_built(tmp_path: Path) -> None:
    (tmp_path / "drivers" / "hv").mkdir(parents=True)
    (tmp_path / "drivers" / "hv" / "x.c").write_text("here")
    read = source_reader(tmp_path)
    for name in ("drivers/hv/x.c", "/home/somebody/linux/drivers/hv/x.c", "../../linux/drivers/hv/x.c"):
        assert read(name) == "here"
    for name in ("drivers/hv/y.c", "/home/somebody/x.c", "/"):
        with pytest.raises(OSError):
            read(name)


def test_own_recipes_without_interrupts_and_hypercalls_can_be_exported() -> None:
    for recipe in load_all(recipes_dir()):
        at_a_call = any(step.at.hypercall is not None for step in recipe.order)
        if not at_a_call and not any(actor.interrupt for actor in recipe.actors):
            check(recipe, {})


def test_hypercall_is_no_place_for_a_kprobe() -> None:
    recipe = next(r for r in load_all(recipes_dir()) if any(s.at.hypercall for s in r.order))
    with pytest.raises(BadInput, match="a kprobe can not") as error:
        check(recipe, {})
    assert "MAP_GPA_PAGES of the child" in str(error.value) and "name a function" in error.value.hint
