# SPDX-License-Identifier: GPL-2.0-or-later
"""The line protocol of ``mshv-vmm`` (images/vmm/serve.c), as pure functions.

``TAG VERB WORD...`` goes in; ``TAG ok WORD...`` or ``TAG err VERB ERRNO text`` comes out, in order.
Accesses are ``r4:GPA``, ``w4:GPA=VALUE`` and ``x:GPA``; their results one word each: the value read,
``w``, ``x``, ``?`` (not reached) or ``!TYPE,GPA,GVA,ACCESS,INFO,RIP,INSTRUCTION`` for an intercept that
reached the VMM. Numbers inside these words are hexadecimal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from lab.model.errors import ExitCode, LabError

AccessKind = Literal["read", "write", "execute", "listen", "poll", "halt"]
WIDTHS = (1, 2, 4, 8)
PDPT = 0x2000
"""Guest physical address of the 512 entries, of 1 GiB each, that map the payload's memory one to one."""
COUNTERS = 0x3800
"""Guest physical address of 8-byte counters, one for each vector (images/payload/layout.h)."""
ADDRESSABLE = 512 << 30
"""Bytes of guest physical addresses that the payload's page tables cover."""

MESSAGE_NAMES = {
    0x80000000: "UNMAPPED_GPA",
    0x80000001: "GPA_INTERCEPT",
    0x80000020: "INVALID_VP_REGISTER_VALUE",
    0x80000021: "UNRECOVERABLE_EXCEPTION",
    0x80000022: "UNSUPPORTED_FEATURE",
    0x80010000: "X64_IO_PORT_INTERCEPT",
    0x80010001: "X64_MSR_INTERCEPT",
    0x80010002: "X64_CPUID_INTERCEPT",
    0x80010003: "X64_EXCEPTION_INTERCEPT",
    0x80010007: "X64_HALT",
}
"""HVMSG_* of Linux include/hyperv/hvgdk_mini.h, enum hv_message_type."""

_ACCESS_KINDS: tuple[AccessKind, ...] = ("read", "write", "execute")
"""By HV_INTERCEPT_ACCESS_* (include/hyperv)."""
_GVA_VALID, _GVA_GPA_VALID = 1, 2


class VmmError(LabError):
    """The VMM refused or failed. ``op`` is the verb, ``errno_name`` such as ``EINVAL``, ``text`` the
    VMM's own words. For a scenario this is often an observation, not a failure of the lab."""

    exit_code = ExitCode.FAIL

    def __init__(self, op: str, errno_name: str, text: str = "") -> None:
        super().__init__(f"{op} failed with {errno_name}: {text}", where="mshv-vmm")
        self.op = op
        self.errno_name = errno_name
        self.text = text


def errno_of(request: Callable[[], object]) -> str:
    """The errno's name that a request of the VMM ends with; "" when it was done."""
    try:
        request()
    except VmmError as e:
        return e.errno_name
    return ""


@dataclass(frozen=True, slots=True)
class Access:
    """One access of ``width`` bytes (1, 2, 4, 8) by VP ``vp`` at guest physical address ``gpa``.

    ``execute`` calls the address; code that returns must lie there; its width does not count.
    ``listen`` (any address) lets the VP take interrupts from now on and count them per vector, see
    :data:`COUNTERS`; ``poll`` and ``halt`` wait, spinning or halted, until the 8 bytes at ``gpa`` reach
    ``value``. Interrupts need a partition with a local APIC.
    """

    gpa: int
    width: int = 4
    kind: AccessKind = "read"
    value: int = 0
    vp: int = 0

    def __post_init__(self) -> None:
        if self.width not in WIDTHS:
            raise ValueError(f"an access has a width of 1, 2, 4 or 8 bytes, not {self.width}")
        if not 0 <= self.gpa <= ADDRESSABLE - 8:
            raise ValueError(f"the child addresses 512 GiB, not {self.gpa:#x}")
        if not 0 <= self.value < 1 << 8 * self.width:
            raise ValueError(f"{self.value:#x} does not fit into {self.width} bytes")


@dataclass(frozen=True, slots=True)
class InterceptMessage:
    """An intercept that reached the VMM: HV_MESSAGE type and the fields of the memory intercept.

    ``gva`` is None unless the hypervisor says it is valid, and stands for ``gpa`` only if ``translated``:
    else ``gpa`` is on the way there, in the child's tables. Types other than memory intercepts have
    ``gpa`` 0.
    """

    type: int
    gpa: int
    gva: int | None
    translated: bool
    access: AccessKind
    rip: int
    instruction: bytes

    @property
    def name(self) -> str:
        """Such as ``UNMAPPED_GPA``; the number for types that the lab does not know."""
        return MESSAGE_NAMES.get(self.type, f"{self.type:#x}")


@dataclass(frozen=True, slots=True)
class AccessResult:
    """What became of an access: done (``ok``; ``value`` for reads), intercepted (``message``), or
    neither when the run ended before it."""

    access: Access
    ok: bool
    value: int | None = None
    message: InterceptMessage | None = None


@dataclass(frozen=True, slots=True)
class StormCount:
    """What the reads of a storm gave: the right word, all ones (nothing answered), an intercept (page not
    known to the hypervisor, access refused, any other), or a foreign value, whose first one is kept."""

    rounds: int
    right: int
    ones: int
    unmapped: int
    refused: int
    other: int
    foreign: int
    address: int
    value: int

    def __str__(self) -> str:
        seen = f"{self.rounds} rounds: {self.right} right, {self.unmapped + self.refused} intercepted"
        for count, what in (
            (self.ones, "all ones"),
            (self.other, "ended by something else"),
            (self.foreign, "foreign"),
        ):
            seen += f", {count} {what}" if count else ""
        return seen + (f" (first {self.value:#x} at {self.address:#x})" if self.foreign else "")


@dataclass(frozen=True, slots=True)
class Region:
    """A memory region: ``pages`` frames from ``gfn`` on, made of pages ``first_page``... of host
    mapping ``map`` (None once that was unmapped)."""

    id: int
    gfn: int
    pages: int
    map: int | None
    first_page: int
    writable: bool
    executable: bool = False

    @property
    def gpa(self) -> int:
        """Guest physical address of the first byte."""
        return self.gfn << 12


def encode_access(access: Access) -> str:
    """The word for one access."""
    match access.kind:
        case "read":
            return f"r{access.width}:{access.gpa:x}"
        case "write":
            return f"w{access.width}:{access.gpa:x}={access.value:x}"
        case "execute":
            return f"x:{access.gpa:x}"
        case "listen":
            return "l:0"
        case "poll" | "halt":
            return f"{access.kind[0]}:{access.gpa:x}={access.value:x}"


def decode_result(word: str, access: Access) -> AccessResult:
    """Result word of ``access``. ValueError when it cannot be one."""
    if word == "?":
        return AccessResult(access, ok=False)
    if word.startswith("!"):
        return AccessResult(access, ok=False, message=_decode_message(word))
    if access.kind == "read":
        value = int(word, 16)
        if not 0 <= value < 1 << 8 * access.width:
            raise ValueError(f"{word} is no value of {access.width} bytes")
        return AccessResult(access, ok=True, value=value)
    if word != ("x" if access.kind == "execute" else "w"):
        raise ValueError(f"{word!r} is no result of a {access.kind} access")
    return AccessResult(access, ok=True)


def _decode_message(word: str) -> InterceptMessage:
    kind, gpa, gva, access, info, rip, code = word[1:].split(",")
    number = int(access, 16)
    if number >= len(_ACCESS_KINDS):
        raise ValueError(f"unknown access type {number} in {word!r}")
    valid = int(info, 16)
    return InterceptMessage(
        type=int(kind, 16),
        gpa=int(gpa, 16),
        gva=int(gva, 16) if valid & _GVA_VALID else None,
        translated=bool(valid & _GVA_GPA_VALID),
        access=_ACCESS_KINDS[number],
        rip=int(rip, 16),
        instruction=bytes.fromhex(code),
    )


def decode_results(words: Sequence[str], accesses: Sequence[Access]) -> list[AccessResult]:
    """Results of a batch. ValueError when their number does not match."""
    if len(words) != len(accesses):
        raise ValueError(f"{len(words)} results for {len(accesses)} accesses")
    return [decode_result(word, access) for word, access in zip(words, accesses, strict=True)]


def decode_reply(line: str, tag: str) -> list[str]:
    """Words after ``ok``. VmmError on ``err``; ValueError when the line is no reply to ``tag``."""
    head, _, rest = line.partition(" ")
    status, _, body = rest.partition(" ")
    if head != tag or status not in ("ok", "err"):
        raise ValueError(f"not the reply to {tag}: {line[:200]!r}")
    if status == "ok":
        return body.split()
    op, _, rest = body.partition(" ")
    errno_name, _, text = rest.partition(" ")
    raise VmmError(op, errno_name, text)


def decode_region(word: str) -> Region:
    """One word of ``region list``: ``ID:GFN:PAGES:MAP:FIRST:rwx``."""
    number, gfn, pages, host, first, flags = word.split(":")
    return Region(
        id=int(number),
        gfn=int(gfn, 16),
        pages=int(pages),
        map=int(host) if int(host) >= 0 else None,
        first_page=int(first),
        writable="w" in flags,
        executable="x" in flags,
    )


@dataclass(frozen=True, slots=True)
class LiveRegion:
    """A region with the pages that the root's own kernel has behind it (images/vmm/live.c).

    ``kind`` as in the ``map`` verb, or ``ram`` for the partition's RAM; ``gone``: its host mapping is
    gone. ``spa``: of a device, the physical page behind the first frame, None when nobody can say.
    ``behind``: of RAM, (first page in the region, pages, physical page) of what is there.
    """

    kind: str
    gfn: int
    pages: int
    writable: bool
    executable: bool
    gone: bool
    spa: int | None
    behind: tuple[tuple[int, int, int], ...]

    @property
    def device(self) -> bool:
        """Whether it is made of a device's memory."""
        return self.kind in ("vfio", "devmem")


def decode_live(word: str) -> LiveRegion:
    """One word of ``region live``: ``GFN;PAGES;rwx;KIND;SPA;FIRST+COUNT@SPA,...``."""
    gfn, pages, flags, kind, spa, runs = word.split(";")
    behind = []
    for run in runs.split(",") if runs not in ("-", "") else ():
        where, _, page = run.partition("@")
        first, _, count = where.partition("+")
        behind.append((int(first), int(count), int(page, 16)))
    return LiveRegion(
        kind=kind.removesuffix("-gone"),
        gfn=int(gfn, 16),
        pages=int(pages),
        writable="w" in flags,
        executable="x" in flags,
        gone=kind.endswith("-gone"),
        spa=None if spa == "-" else int(spa, 16),
        behind=tuple(behind),
    )


def decode_fields(words: Iterable[str]) -> dict[str, int]:
    """Words ``name=number`` (decimal or 0x...)."""
    return {name: int(value, 0) for name, _, value in (word.partition("=") for word in words)}


def split_batches(accesses: Sequence[Access], limit: int) -> list[list[Access]]:
    """Runs of accesses by one VP, at most ``limit`` long, in the same order."""
    batches: list[list[Access]] = []
    for access in accesses:
        if not batches or batches[-1][-1].vp != access.vp or len(batches[-1]) == limit:
            batches.append([])
        batches[-1].append(access)
    return batches
