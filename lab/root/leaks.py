# SPDX-License-Identifier: GPL-2.0-or-later
"""What the root's kernel holds, as numbers, and which of them only ever grow.

A :class:`Count` is one look: kernel objects by slab cache, vmalloc areas and pages by the function that
asked for them, used pages, open files. :func:`growing` judges several looks with equal work in between.
It goes by the slope: caches fill and drain by chance, a leak takes its share of every round.

Before each look the slab caches are shrunk: what a CPU keeps at hand, or KASAN holds back after it was freed,
would count as in use.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence

from lab.root.root import Root

Count = Mapping[str, int]
"""Name of a number, such as ``slab kmalloc-512``, to its value."""

USED = "used pages"
PAGES_SHARE = 16
_LAZY = ("slab vmap_area", "slab kmemleak_object", "slab kmemleak_scan_area", "slab debug_objects_cache")
"""Freed areas are kept until there are many of them, and so is what kmemleak notes of each; vmallocinfo shows
those in use. What DEBUG_OBJECTS notes of objects lies in a pool that only grows; these objects are counted
themselves."""
_OURS = ("mshv", "hv_call_", "hv_do_")
_PAGE_STACKS = "/sys/kernel/debug/page_owner_stacks/show_stacks"
_KMEMLEAK = "/sys/kernel/debug/kmemleak"
# Shrinking a cache empties what each CPU keeps of it, and KASAN's quarantine: freed objects lie there for
# thousands of rounds and count as used.
_SCRIPT = """
echo 3 >/proc/sys/vm/drop_caches
for cache in /sys/kernel/slab/*; do [ -L $cache ] || echo 1 >$cache/shrink; done 2>/dev/null
echo '=== slabinfo'; cat /proc/slabinfo
echo '=== vmallocinfo'; cat /proc/vmallocinfo
echo '=== meminfo'; cat /proc/meminfo
echo '=== files'; cat /proc/sys/fs/file-nr
for pid in 1 {pid}; do echo "=== fds $pid"; ls /proc/$pid/fd | wc -l; done
echo '=== refcnt'; cat /sys/module/mshv_root/refcnt 2>/dev/null
echo '=== page_owner'; cat {stacks} 2>/dev/null
true
"""
_BLOCK = re.compile(r"^=== (.*)$", re.MULTILINE)
_SLAB = re.compile(r"^(\S+)\s+(\d+)\s+\d+\s+\d+\s", re.MULTILINE)
_VMALLOC = re.compile(r"^0x\S+\s+\d+ (\S+?)\+0x", re.MULTILINE)
_MEMINFO = re.compile(r"^(MemFree|MemTotal):\s+(\d+) kB", re.MULTILINE)
_STACK_PAGES = re.compile(r"nr_base_pages: (\d+)")
_FRAME = re.compile(r"^\s*([A-Za-z_][\w.]*)\+0x", re.MULTILINE)


def take(root: Root, pid: int) -> Count:
    """Look at the root now; ``pid`` is the VMM's."""
    return parse_count(root.run(_SCRIPT.format(pid=pid, stacks=_PAGE_STACKS), 60.0).out)


def parse_count(text: str) -> Count:
    """The output of the script as numbers. Pure."""
    count: dict[str, int] = {}
    pieces = _BLOCK.split(text)
    for title, body in zip(pieces[1::2], pieces[2::2], strict=True):
        match title.split():
            case ["slabinfo"]:
                for name, active in _SLAB.findall(body):
                    count[f"slab {name}"] = int(active)
            case ["vmallocinfo"]:
                for name in _VMALLOC.findall(body):
                    count[f"vmalloc {name}"] = count.get(f"vmalloc {name}", 0) + 1
            case ["meminfo"]:
                kilobytes = dict(_MEMINFO.findall(body))
                count[USED] = (int(kilobytes["MemTotal"]) - int(kilobytes["MemFree"])) // 4
            case ["files"]:
                count["open files"] = int(body.split()[0])
            case ["fds", pid]:
                count["fds of init" if pid == "1" else "fds of the VMM"] = int(body)
            case ["refcnt"] if body.strip():
                count["references to the module"] = int(body)
            case ["page_owner"]:
                _page_owner(body, count)
            case _:
                pass
    return count


def _page_owner(text: str, count: dict[str, int]) -> None:
    """Pages by the two innermost functions of the driver in their allocation's stack."""
    for block in text.split("\n\n"):
        pages = _STACK_PAGES.search(block)
        ours = [frame for frame in _FRAME.findall(block) if frame.startswith(_OURS)]
        if pages and ours:
            name = f"pages of {' <- '.join(ours[:2])}"
            count[name] = count.get(name, 0) + int(pages[1])


def pinned(root: Root) -> int:
    """Pages of user space that somebody in the kernel has pinned. Each CPU counts for itself until asked."""
    words = root.run("echo 1 >/proc/sys/vm/stat_refresh; grep nr_foll_pin /proc/vmstat").out.split()
    numbers = dict(zip(words[::2], map(int, words[1::2]), strict=True))
    return numbers["nr_foll_pin_acquired"] - numbers["nr_foll_pin_released"]


def growing(counts: Sequence[Count], rounds: int, share: float = 0.75) -> list[str]:
    """Numbers that never fall from look to look, ``rounds`` apart, grow in both halves, and by ``share`` a
    round or more in all. The work in between was equal: a cache that fills or noise does not do that.

    A single fall is forgiven where all but two steps are as steep as that, and no look shows less than what
    would have leaked by then: one look was off.
    Used pages go up and down by hundreds; they must grow by PAGES_SHARE a round from look to look.
    """
    if len(counts) < 3:
        raise ValueError("a slope needs three looks or more")
    lines = []
    for name in sorted(set(counts[0]) | set(counts[-1])):
        if name in _LAZY:
            continue
        values = [count.get(name, 0) for count in counts]
        steps = [after - before for before, after in itertools.pairwise(values)]
        half, total = values[len(values) // 2], rounds * len(steps)
        floor = PAGES_SHARE * rounds if name == USED else 0
        steep = sum(step >= share * rounds for step in steps)
        # What leaked is there at every look: after a fall, too.
        there = all(value - values[0] >= share * rounds * n for n, value in enumerate(values))
        one_fall = sum(step < 0 for step in steps) == 1
        steady = name != USED and there and one_fall and steep >= max(3, len(steps) - 2)
        if (
            (steady or min(steps) >= floor)
            and values[0] < half < values[-1]
            and values[-1] - values[0] >= max(1, share * total)
        ):
            each = (values[-1] - values[0]) / total
            lines.append(f"{name}: {' -> '.join(map(str, values))}, {each:.2f} a round")
    return lines


def has_kmemleak(root: Root) -> bool:
    """Whether the kernel can look for unreferenced objects."""
    return not root.run(f"[ -w {_KMEMLEAK} ]", check=False).rc


def kmemleak(root: Root) -> list[str] | None:
    """Scan for unreferenced objects; stacks of those that the driver allocated, one line each. None when
    the kernel has no kmemleak. Objects younger than five seconds do not count there."""
    if not has_kmemleak(root):
        return None
    for _ in range(2):  # an object must be found unreferenced with the same checksum twice
        root.run(f"echo scan >{_KMEMLEAK}", 120.0)
    return parse_kmemleak(root.run(f"cat {_KMEMLEAK}", 60.0).out)


def parse_kmemleak(text: str) -> list[str]:
    """Reports with a function of the driver in their stack: ``SIZE bytes: f <- g <- h``. Pure."""
    lines = []
    for report in text.split("unreferenced object ")[1:]:
        size = re.search(r"\(size (\d+)\)", report)
        frames = _BACKTRACE.findall(report)
        if any(frame.startswith(_OURS) for frame in frames):
            lines.append(f"{size[1] if size else '?'} bytes: {' <- '.join(frames[:6])}")
    return lines


_BACKTRACE = re.compile(r"^\s+(?:\[<\w+>\] )?([A-Za-z_][\w.]*)\+0x", re.MULTILINE)
