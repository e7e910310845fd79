# SPDX-License-Identifier: GPL-2.0-or-later
"""Recipes from reports: the golden logs of the splat parser, and reports as kernels write them elsewhere."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from lab.judge.splats import parse as parse_log
from lab.model.errors import BadInput
from lab.model.race import PointSpec, Recipe
from lab.race.from_splat import recipe_of
from lab.race.recipes import parse

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "splats"


def golden(name: str) -> list[str]:
    return (GOLDEN / f"{name}.log").read_text(errors="replace").partition("--- log ---\n")[2].splitlines()


def text_of(lines: list[str], number: int = 1) -> str:
    return recipe_of(parse_log(lines), "the log", number)


def recipe(lines: list[str], number: int = 1) -> Recipe:
    return parse(tomllib.loads(text_of(lines, number)), "from-a-log", "from-a-log.toml")


def steps(found: Recipe) -> list[tuple[str, str]]:
    return [(step.actor, str(step.at)) for step in found.order]


KASAN_AT = [("reader", "mshv_region_put+0x36"), ("freer", "mshv_unmap_user_memory+0xa4")]


@pytest.mark.parametrize("name", ["kcsan-data-race", "kcsan-data-race-swapped"])
def test_task_is_held_and_interrupt_goes_by(name: str) -> None:
    found = recipe(golden(name))
    assert steps(found) == [
        ("reader", "mshv_vp_wait_for_hv_kick+0x88"),
        ("writer", "__sysvec_hyperv_callback+0x2b"),
    ]
    assert found.actor("writer").interrupt and not found.actor("reader").interrupt
    assert found.proof.splat == ("kcsan",)
    assert found.setup.flavour == "kcsan"


def test_task_that_reported_has_its_name() -> None:
    assert recipe(golden("kcsan-data-race")).actor("reader").comm == "mshv-vmm"


def test_task_without_a_name_is_marked() -> None:
    # The report is of swapper/0; of task 71 the log has the number alone.
    text = text_of(golden("kcsan-data-race-swapped"))
    assert "TODO: its name: the log does not say what task 71 is called" in text
    assert recipe(golden("kcsan-data-race-swapped")).actor("reader").comm == "task-71"


@pytest.mark.parametrize(
    "name", ["kasan-use-after-free", "kasan-no-time-stamps", "consequences", "interleaved-three-cpus"]
)
def test_user_is_held_before_the_check_until_the_memory_is_freed(name: str) -> None:
    found = recipe(golden(name))
    assert found.proof.splat == ("kasan",)
    assert found.actor(found.order[0].actor).comm == "mshv-vmm"
    if name != "interleaved-three-cpus":
        assert steps(found) == KASAN_AT


def test_real_report_of_an_idle_task_and_its_timer() -> None:
    found = recipe(golden("real-data-race-with-itself"))
    assert steps(found) == [
        ("reader", "tick_nohz_idle_got_tick+0x33"),
        ("writer", "__hrtimer_run_queues+0x1eb"),
    ]
    assert found.actor("reader").comm == "swapper/0" and found.actor("writer").interrupt


def test_every_golden_log_gives_a_recipe_or_says_why_not() -> None:
    made = 0
    for path in sorted(GOLDEN.glob("*.log")):
        try:
            recipe(golden(path.stem))
            made += 1
        except BadInput as e:
            assert e.what and e.where == "the log"
    assert made >= 8


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("lockdep-circular", "no report of two threads"),
        ("kasan-double-free", "no report of two threads"),
        ("harmless-boot", "no report of two threads"),
        ("kcsan-unknown-origin", "it names one side only"),
        ("kcsan-cut-before-the-other-side", "both sides are needed"),
        ("kasan-cut-in-the-stack", "does not say who freed"),
        ("real-read-after-free", "task 91 freed the memory that it used"),
    ],
)
def test_what_is_no_race_of_two_is_refused(name: str, why: str) -> None:
    with pytest.raises(BadInput, match=why):
        text_of(golden(name))


def kcsan(first: str, second: str) -> list[str]:
    ruler = "=" * 66
    return [
        ruler,
        "BUG: KCSAN: data-race in one / two",
        "",
        f"{first} on cpu 1:",
        " one+0x10/0x20",
        " caller_of_one+0x33/0x80",
        "",
        f"{second} on cpu 0:",
        " two.isra.0+0x18/0x30 [mshv_root]",
        " caller_of_two+0x44/0x90 [mshv_root]",
        "",
        "Reported by Kernel Concurrency Sanitizer on:",
        'CPU: 0 UID: 0 PID: 12 Comm: vp "0" Not tainted 7.3.4 #3',
        ruler,
    ]


def test_two_writers_keep_their_order_and_strange_names_their_letters() -> None:
    lines = kcsan(
        "write to 0xffff888008714070 of 4 bytes by task 11",
        "write (marked) to 0xffff888008714070 of 4 bytes by task 12",
    )
    found = recipe(lines)
    assert steps(found) == [("first", "one+0x10"), ("second", "caller_of_two+0x44")]
    assert found.actor("second").comm == 'vp "0"'


def test_reader_is_held_wherever_it_stands() -> None:
    found = recipe(
        kcsan(
            "write to 0xffff888008714070 of 4 bytes by task 11",
            "read (marked, reordered) to 0xffff888008714070 of 4 bytes by task 12",
        )
    )
    assert steps(found) == [("reader", "two.isra.0+0x18"), ("writer", "caller_of_one+0x33")]


def test_report_is_chosen_by_its_number() -> None:
    lines = [*golden("kcsan-data-race"), *golden("kasan-use-after-free")]
    assert recipe(lines, 1).setup.flavour == "kcsan"
    assert recipe(lines, 2).setup.flavour == "kasan"
    assert "which has 2 such reports" in text_of(lines, 2)
    for number in (0, 3):
        with pytest.raises(BadInput, match=f"no report {number}"):
            text_of(lines, number)


def kasan(*freed: str, check: bool = False) -> list[str]:
    ruler = "=" * 66
    return [
        ruler,
        "BUG: KASAN: slab-use-after-free in use_it+0x3b/0xf0",
        "Write of size 8 at addr ffff888008714070 by task vp-0/55",
        "",
        "CPU: 0 UID: 0 PID: 55 Comm: vp-0 Not tainted 7.3.4 #3",
        "Call Trace:",
        " <TASK>",
        " dump_stack_lvl+0x62/0x90",
        " kasan_report+0xe4/0x120",
        *([" __asan_store8+0x8c/0xb0"] if check else []),
        " use_it+0x3b/0xf0",
        " caller+0x3b/0xf0",
        " </TASK>",
        "",
        *freed,
        "",
        "The buggy address belongs to the object at ffff888008714000",
        ruler,
    ]


def test_inlined_checks_leave_the_entry_to_hold_at() -> None:
    found = recipe(
        kasan("Freed by task 56:", " kasan_save_track+0x1/0x9", " kfree+0x2/0x9", " drop+0x1a/0x90")
    )
    assert steps(found) == [("writer", "use_it"), ("freer", "drop+0x1a")]
    assert found.order[0].at == PointSpec(function="use_it")


def test_free_behind_a_grace_period_is_the_doing_of_who_asked_for_it() -> None:
    lines = kasan(
        "Freed by task 14:",
        " kasan_save_stack+0x33/0x60",
        " kfree+0x121/0x3a0",
        " rcu_do_batch+0x1a/0x90",
        " rcu_core+0x1a/0x90",
        " handle_softirqs+0x1a/0x90",
        "",
        "Last potentially related work creation:",
        " kasan_save_stack+0x33/0x60",
        " kvfree_call_rcu+0x2c/0x3a0",
        " drop+0x1a/0x90",
        check=True,
    )
    text = text_of(lines)
    assert steps(recipe(lines)) == [("writer", "use_it+0x36"), ("freer", "drop+0x1a")]
    assert "behind a grace period" in text
    # What task 14 did was to run the callback, whoever it is.
    assert "task-14" not in text and "does not say which task it is" in text


def test_decoded_stacks_are_refused() -> None:
    with pytest.raises(BadInput, match="decoded"):
        text_of(kasan("Freed by task 56:", " kfree (mm/slub.c:12)", " drop (drivers/hv/x.c:5)"))


def test_log_without_offsets_in_one_line_records() -> None:
    # /dev/kmsg: each record on a line of its own, with its number in front.
    lines = [
        f"4,{n},{n + 3200000},-;{line}" for n, line in enumerate(kasan("Freed by task 56:", " drop+0x1/0x9"))
    ]
    assert steps(recipe(lines))[1] == ("freer", "drop+0x1")
