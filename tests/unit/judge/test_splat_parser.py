# SPDX-License-Identifier: GPL-2.0-or-later
"""The splat parser as a stream: order, bounds, and hostile logs."""

from __future__ import annotations

import ast
import itertools
import random
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.judge.splats import SplatParser, first, parse, parse_bytes, rules, split
from lab.judge.splats.parser import HELD_LIMIT, LONGEST
from lab.judge.splats.report import TEXT_LIMIT
from lab.judge.splats.rules import RULES, find
from lab.model.splat import Damage, SplatClass

TraceFunction = Any
GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "splats"


def log(name: str) -> list[str]:
    _, _, text = (GOLDEN / f"{name}.log").read_bytes().decode("utf-8", "replace").partition("--- log ---\n")
    return text.split("\n")


def test_first_splat_reads_no_further_than_its_end() -> None:
    read = 0

    def lines() -> Iterator[str]:
        nonlocal read
        for line in itertools.chain(log("hung-task"), itertools.repeat("[   99.000000] noise")):
            read += 1
            yield line

    splat = first(lines())
    assert splat is not None and splat.cls is SplatClass.HUNG_TASK
    assert read <= len(log("hung-task"))


def test_first_of_a_clean_log_is_none() -> None:
    assert first(log("harmless-boot")) is None


def test_later_splats_name_the_first_one() -> None:
    splats = list(parse(log("oops-null-pointer")))
    assert [s.cls for s in splats] == [SplatClass.OOPS, SplatClass.PANIC]
    assert splats[0].after == ""
    assert splats[1].after == splats[0].id


def test_splats_come_out_in_the_order_in_which_they_begin() -> None:
    a = [line.replace("] ", "][   T54] ", 1) for line in log("warning-no-message") if line]
    b = [line.replace("] ", "][    C1] ", 1) for line in log("atomic-sleep-mmap-lock") if line]
    mixed = [a[0], a[1], *b, *a[2:]]
    assert [s.cls for s in parse(mixed)] == [SplatClass.WARNING, SplatClass.ATOMIC_SLEEP]


def test_same_race_and_same_circle_have_one_id_from_both_sides() -> None:
    for one, other in (
        ("kcsan-data-race", "kcsan-data-race-swapped"),
        ("lockdep-circular", "lockdep-circular-other-side"),
        ("rcu-stall-self", "rcu-stall-self-elsewhere"),
    ):
        assert [s.id for s in parse(log(one))] == [s.id for s in parse(log(other))]


def test_ids_of_different_golden_splats_differ() -> None:
    same = {"kcsan-data-race-swapped", "lockdep-circular-other-side", "rcu-stall-self-elsewhere"}
    ids: dict[str, str] = {}
    for path in sorted(GOLDEN.glob("*.log")):
        if path.stem in same:
            continue
        for splat in parse(log(path.stem)):
            key = f"{splat.title} {splat.frames[:3]}"
            if splat.corrupted:
                continue
            assert ids.setdefault(splat.id, key) == key


def test_every_rule_has_a_golden_log() -> None:
    """A rule without a log is a guess."""
    covered = {
        id(found[0])
        for path in GOLDEN.glob("*.log")
        for number, raw in enumerate(log(path.stem))
        for line in split(number, raw)
        if (found := find(line.text))
    }
    assert [rule.pattern.pattern for rule in RULES if id(rule) not in covered] == []


@pytest.mark.parametrize(
    ("raw", "text", "seconds", "caller"),
    [
        ("[    1.234567] x", "x", 1.234567, ""),
        ("[    1.2][  T12] x", "x", 1.2, "T12"),
        ("[    1.234567] [    C0]  f+0x1/0x2", " f+0x1/0x2", 1.234567, "C0"),
        ("[    C0] x", "x", None, "C0"),
        ("<4>[    1.000000] x", "x", 1.0, ""),
        ("kern  :warn  : [    1.000000] x", "x", 1.0, ""),
        ("4,812,1234567,-,caller=T12;x", "x", 1.234567, "T12"),
        ("Nov 23 10:00:00 host kernel: x", "x", None, ""),
        ("[Mon Nov 23 10:00:00 2026] x", "x", None, ""),
        ("[ BUG: Invalid wait context ]", "[ BUG: Invalid wait context ]", None, ""),
        ("[Firmware Bug]: x", "[Firmware Bug]: x", None, ""),
        ("x\r\n", "x", None, ""),
        ("\x1b[2J\x1b[01;01Hx", "x", None, ""),
        ("", "", None, ""),
    ],
)
def test_prefix(raw: str, text: str, seconds: float | None, caller: str) -> None:
    [line] = split(7, raw)
    assert (line.number, line.text, line.time, line.caller) == (7, text, seconds, caller)


def test_two_messages_on_one_line_come_apart() -> None:
    lines = split(0, "/ # ls[    1.000001] a[    1.000002][   T5] b")
    assert [(line.text, line.caller) for line in lines] == [("/ # ls", ""), ("a", ""), ("b", "T5")]


def test_line_breaks_inside_a_kmsg_record_come_apart() -> None:
    assert [line.text for line in split(0, r"4,1,1000000,-;\x0aother info:\x0a")] == ["", "other info:", ""]


def test_report_without_end_is_given_up() -> None:
    lines = ["[    1.000000] BUG: scheduling while atomic: a/1/0x2"]
    lines += [f"[    2.{i:06}] mshv: message {i}" for i in range(5000)]
    parser = SplatParser()
    after = [i for i, line in enumerate(lines) if parser.feed(line)]
    assert after and after[0] < 1000


def test_report_of_a_caller_that_falls_silent_is_given_up() -> None:
    lines = ["[    1.000000][   T7] BUG: scheduling while atomic: a/7/0x2"]
    lines += [f"[    2.000000][   T8] mshv: message {i}" for i in range(5000)]
    parser = SplatParser()
    after = [i for i, line in enumerate(lines) if parser.feed(line)]
    assert after and after[0] < 4000


def test_kept_text_is_bounded() -> None:
    line = "[    1.000000]  f" + "o" * 3000
    lines = ["=" * 66, "BUG: KASAN: use-after-free in f+0x1/0x2", *[line] * 2000]
    [splat] = parse(lines)
    assert len(splat.text) <= TEXT_LIMIT
    assert max(map(len, splat.text)) <= 1024
    assert splat.corrupted


BANNERS = st.sampled_from(
    [
        "------------[ cut here ]------------",
        "=" * 40,
        "WARNING: a.c:1 at f+0x1/0x2, CPU#1: a/1",
        "kernel BUG at a.c:1!",
        "Oops: invalid opcode: 0000 [#1] SMP",
        "BUG: KASAN: use-after-free in f+0x1/0x2",
        "[ BUG: Invalid wait context ]",
        "list_del corruption. x",
        "refcount_t: underflow",
        "Kernel panic - not syncing: x",
        "Call Trace:",
        " <TASK>",
        " </TASK>",
        " f+0x1/0x2",
        "RIP: 0010:g+0x1/0x2",
        "---[ end trace 0000000000000000 ]---",
        "stack backtrace:",
        "",
    ]
)
PREFIXES = st.sampled_from(
    ["", "[    1.000000] ", "[    1.000000][   T1] ", "[    1.000000][    C0] ", "4,1,1,-;"]
)
LINES = st.lists(st.one_of(st.tuples(PREFIXES, BANNERS).map("".join), st.text(max_size=80)), max_size=60)


@settings(max_examples=60, deadline=None)
@given(LINES)
def test_any_log_is_parsed_without_an_error_and_the_same_in_one_piece_or_streamed(lines: list[str]) -> None:
    splats = list(parse(lines))
    assert [s.after for s in splats] == [splats[0].id if i else "" for i in range(len(splats))]
    for s in splats:
        assert 0 <= s.line < len(lines)
        assert s.title and s.id.startswith(f"{s.cls.value}/") and s.text
        assert "{" not in s.title or "{" in "".join(lines)
    parser = SplatParser()
    streamed = [s for line in lines for s in parser.feed(line)] + parser.close()
    assert streamed == splats


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=4000))
def test_random_bytes_are_parsed_without_an_error(data: bytes) -> None:
    list(parse(data.decode("utf-8", "replace").split("\n")))


def hostile(kind: str, count: int) -> list[str]:
    rng = random.Random(7)
    if kind == "banners":
        return ["WARNING: a.c:1 at f+0x1/0x2, CPU#1: a/1"] * count
    if kind == "callers":
        return [f"[    1.000000][   T{rng.randrange(10**6)}] BUG: x" for _ in range(count)]
    if kind == "open":
        return ["=" * 60] * count
    if kind == "brackets":
        return ["[    1.000000]" * 20] * count
    if kind == "locks":
        return ["WARNING: possible circular locking dependency detected", *["(" * 1000 + "){"] * (count - 1)]
    if kind == "blanks":
        return ["BUG: x", *[" " * 1000 + "x+0x"] * (count - 1)]
    if kind == "drops":
        lines = ["[    1.000000][   T1] BUG: scheduling while atomic: a/1/0x2"]
        while len(lines) < count:
            lines += ["[    1.000000][   T2] BUG: x", "[    1.000000] ** 9 printk messages dropped **"]
        return lines
    if kind == "held":
        some = [f"[    1.000000][   T{i}] BUG: scheduling while atomic: a/{i}/0x2" for i in range(50)]
        return (some + ["[    1.000000][   T9]  f+0x1/0x2"] * count)[:count]
    if kind == "golden":
        return list(itertools.islice(itertools.cycle(log("kasan-use-after-free")), count))
    return ["[    1.000000] mshv: an ordinary line of a log, as there are many"] * count


KINDS = ["ordinary", "banners", "callers", "open", "brackets", "locks", "blanks", "drops", "held", "golden"]


def work(lines: list[str]) -> int:
    """Lines of Python that parsing executes: what a loop costs, whatever else the machine does."""
    count = 0

    def trace(frame: FrameType, event: str, arg: object) -> TraceFunction:
        nonlocal count
        count += event == "line"
        return trace

    sys.settrace(trace)
    try:
        for _ in parse(lines):
            pass
    finally:
        sys.settrace(None)
    return count


@pytest.mark.parametrize("kind", KINDS)
def test_work_grows_linearly_with_the_lines(kind: str) -> None:
    small, large = work(hostile(kind, 400)), work(hostile(kind, 1600))
    assert large < 4.6 * small, f"{small} lines of Python for 400 lines, {large} for 1600"


@pytest.mark.parametrize("piece", ["[    1.000000]", "[    1.000000] BUG: x ", "x" * 14, "<4>", "\x1b[", " "])
def test_work_grows_linearly_with_the_length_of_a_line(piece: str) -> None:
    small, large = work([piece * 1000]), work([piece * 4000])
    assert large < 4.6 * small


@pytest.mark.parametrize("lead", ["", "[    1.000000] ", "[    1.000000][   T1] "])
@pytest.mark.parametrize(
    "banner", ["WARNING: ", "BUG: ", "BUG: KASAN: ", "list_add ", "INFO: task ", "=", ""]
)
def test_no_line_of_printk_length_holds_the_patterns_up(lead: str, banner: str) -> None:
    """A pattern that backtracks would need years for these; the bound is generous."""
    started = time.process_time()
    for filler in ("a", " ", "(", "a ", "a/", "[#", "+0x1/", "=", "a:", "\\x0a"):
        body = (banner + filler * 1024)[:1024]
        list(parse(["BUG: KASAN: x in f", lead + body, lead + body[:-1] + "!"]))
    assert time.process_time() - started < 20


def test_held_reports_are_bounded() -> None:
    """One report that never ends holds back all that began later, but not for ever."""
    lines = ["[    1.000000][   T1] BUG: scheduling while atomic: a/1/0x2"]
    for _ in range(HELD_LIMIT // 4):
        lines += ["[    1.000000][   T2] BUG: x", "[    1.000000][   T1]  f+0x1/0x2"]
        lines += ["[    1.000000][   T2]  g+0x1/0x2"] * 8
    parser = SplatParser()
    waiting = worst = 0
    for line in lines:
        waiting += " BUG: " in line
        waiting -= len(parser.feed(line))
        worst = max(worst, waiting)
    assert 10 < worst < HELD_LIMIT


def test_lines_lost_count_for_the_reports_that_were_open_then() -> None:
    lost = "[    3.201000] ** 17 printk messages dropped **"
    whole, torn = log("warning-no-message"), log("atomic-sleep-mmap-lock")
    before, inside = [*whole, lost, *torn], [*whole, *torn[:9], lost, *torn[9:]]
    assert [s.damage for s in parse(before)] == [None, None]
    assert [s.damage for s in parse(inside)] == [None, Damage.LINES_LOST]


def test_ten_megabytes_in_one_line() -> None:
    assert list(parse(["A" * 10_000_000, "BUG: x" + "[" * 10_000_000])) != []


def test_a_message_behind_megabytes_without_a_line_break_is_found() -> None:
    for more in (-20, -14, -3, 0, 1, 500):
        whole = b"#" * (3 * LONGEST + more) + "\n".join(log("hung-task")).encode()
        [splat] = parse_bytes([whole])
        assert (splat.cls, splat.line) == (SplatClass.HUNG_TASK, 0)
        assert list(parse([line.decode() for line in whole.split(b"\n")])) == [splat]


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=2000), st.sampled_from(sorted(GOLDEN.glob("*.log"))), st.lists(st.integers(1, 999)))
def test_pieces_of_bytes_give_the_same_as_lines(noise: bytes, path: Path, sizes: list[int]) -> None:
    data = noise + b"\n" + path.read_bytes()
    cuts = list(itertools.accumulate(sizes, initial=0))
    pieces = [data[a:b] for a, b in itertools.pairwise([*cuts, max(len(data), cuts[-1])])]
    lines = data.removesuffix(b"\n").decode("utf-8", "replace").split("\n")
    assert list(parse_bytes(pieces)) == list(parse(lines))


STAMP = re.compile(r"^\[ *\d+\.\d+\](?:\[ *([TC])(\d+)\])?")


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(sorted(GOLDEN.glob("*.log"))),
    st.integers(0, 10**6),
    st.integers(0, 200),
    st.integers(0, 4000),
)
def test_ids_do_not_depend_on_time_cpu_or_pid(path: Path, late: int, cpu: int, pid: int) -> None:
    """Every number that differs between two boots is shifted; nothing about the splats may change."""
    lines = log(path.stem)

    def stamped(m: re.Match[str]) -> str:
        number = int(m[2] or 0) + (cpu if m[1] == "C" else pid)
        seconds = float(m[0].strip("[] ").split("]")[0]) + late
        return f"[{seconds:12.6f}]" + (f"[{m[1] + str(number):>6}]" if m[1] else "")

    moved = []
    for line in lines:
        line = STAMP.sub(stamped, line)
        line = re.sub(r"(CPU: ?|CPU#|cpu )(\d+)", lambda m: f"{m[1]}{int(m[2]) + cpu}", line)
        line = re.sub(r"(PID: ?|pid[: ] ?|mshv-vmm[/:])(\d+)", lambda m: f"{m[1]}{int(m[2]) + pid}", line)
        line = re.sub(r"(by task (?:[\w-]+/)?)(\d+)", lambda m: f"{m[1]}{int(m[2]) + pid}", line)
        moved.append(line)
    one, other = list(parse(lines)), list(parse(moved))
    assert [s.id for s in one] == [s.id for s in other]
    assert [s.also for s in one] == [s.also for s in other]


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(GOLDEN.glob("*.log"))), st.data())
def test_a_log_cut_anywhere_never_shows_more_than_the_whole(path: Path, data: st.DataObject) -> None:
    lines = log(path.stem)
    cut = data.draw(st.integers(0, len(lines)))
    whole, part = list(parse(lines)), list(parse(lines[:cut]))
    assert len(part) <= len(whole)
    # All that is missing is missing at the end: only reports that were open there may differ.
    ended = [s for s in part if not s.corrupted and s in whole]
    assert all(s.line <= cut for s in part) and len(ended) <= len(whole)


ALLOWED = {"__future__", "re", "collections", "dataclasses", "enum", "string", "hashlib", "typing", "lab"}


def test_the_library_stands_alone() -> None:
    """It needs the model of a splat and the standard library, and does no input or output."""
    folder = Path(rules.__file__).parent
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                module = node.module or ""
                assert module.split(".")[0] in ALLOWED, f"{path.name}: {module}"
                if module.startswith("lab"):
                    assert module.startswith(("lab.judge.splats", "lab.model.splat")), (
                        f"{path.name}: {module}"
                    )
            assert not (isinstance(node, ast.Name) and node.id in ("open", "print", "input")), path.name
