# SPDX-License-Identifier: GPL-2.0-or-later
"""The splat parser as a stream: order, bounds, and hostile logs."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.judge.splats import SplatParser, first, parse, split
from lab.judge.splats.report import TEXT_LIMIT
from lab.judge.splats.rules import RULES, find
from lab.model.splat import SplatClass

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "splats"


def log(name: str) -> list[str]:
    _, _, text = (GOLDEN / f"{name}.log").read_text().partition("--- log ---\n")
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


def per_line(lines: list[str]) -> float:
    start = time.process_time()
    for _ in parse(lines):
        pass
    return (time.process_time() - start) / len(lines)


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
    return ["[    1.000000] mshv: an ordinary line of a log, as there are many"] * count


@pytest.mark.parametrize("kind", ["ordinary", "banners", "callers", "open", "brackets", "locks", "blanks"])
def test_time_grows_linearly(kind: str) -> None:
    """Time per line does not grow with the length of the log (generous factor: other load)."""
    per_line(hostile(kind, 200))
    small = min(per_line(hostile(kind, 500)) for _ in range(3))
    large = per_line(hostile(kind, 4000))
    assert large < 6 * small + 20e-6


def test_ten_megabytes_in_one_line() -> None:
    assert list(parse(["A" * 10_000_000, "BUG: x" + "[" * 10_000_000])) != []
