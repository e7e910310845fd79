# SPDX-License-Identifier: GPL-2.0-or-later
"""What actors do: a child with a region of a device's BAR, and the words of a recipe turned into requests.

| word | what it does |
|---|---|
| ``touch PAGE [VP]`` | a VP reads the first word of a page of the region |
| ``remove`` | the VMM removes the region |
| ``munmap`` | the VMM unmaps the BAR under the region |
| ``destroy [tidy\\|vps\\|partition]`` | the VMM destroys the partition, this first |
| ``kill`` | the VMM is killed |
| ``quiesce`` | the root waits for an RCU grace period: a file system is mounted and unmounted |
| ``timer TICKS [VP]`` | a VP halts until the timer of its local APIC interrupts it |
"""

from __future__ import annotations

import shlex
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from lab.child.memory import DestroyOrder
from lab.child.protocol import COUNTERS, Access, Region, encode_access
from lab.child.vmm import Vmm
from lab.hypervisor.view import ROOT_PARTITION
from lab.judge import slat
from lab.model.errors import BadInput, LabError
from lab.model.race import Actor, PointSpec, Setup
from lab.race.points import CallTarget
from lab.validate.base import BaseLab

GFN = 0x100000
"""Where the region is in the child."""
_VECTOR = 0x41
_APIC_LVT_TIMER, _APIC_COUNT, _APIC_DIVIDE = 0xFEE00320, 0xFEE00380, 0xFEE003E0
_DIVIDE_BY_128 = 0b1010
_JOIN = 15.0
_ORDERS: tuple[DestroyOrder, ...] = ("tidy", "vps", "partition")


@dataclass
class Stage:
    """A lab with everything in place; ``actions`` are made for the actors of one attempt."""

    lab: BaseLab
    child: Vmm
    mapped: Region | None
    partition: int
    bar_spa: int
    submitted: dict[int, list[Access]] = field(default_factory=dict)
    channel: threading.Lock = field(default_factory=threading.Lock)
    """Held by whoever waits for an answer of the VMM: all actors share its one channel."""

    @classmethod
    def set(cls, lab: BaseLab, setup: Setup) -> Stage:
        """Create the partition and map the region. LabError."""
        device = lab.test_device()
        lab.passthrough(device)
        child = Vmm(lab.root)
        child.start()
        child.create_partition(vps=setup.vps, lapic=setup.lapic)
        region = None
        if setup.ram:
            region = child.map_anonymous(GFN, setup.pages)
        elif setup.pages:
            region = child.map_bar(device.bdf, device.bar, GFN, setup.pages)
        stage = cls(lab, child, region, lab.child_partition(), lab.bar_spa(device))
        for vp in range(setup.vps):
            child.access([Access(0, 8, vp=vp)])  # its RAM is there, and its payload has begun
        if setup.touched:
            child.access([stage.access(page) for page in setup.touched])
        if setup.lapic:
            for vp in range(setup.vps):
                child.access([Access(0, 8, "listen", vp=vp)])
                child.access(
                    [
                        Access(_APIC_DIVIDE, 4, "write", _DIVIDE_BY_128, vp=vp),
                        Access(_APIC_LVT_TIMER, 4, "write", _VECTOR, vp=vp),
                    ]
                )
        return stage

    def pin(self, actors: Sequence[Actor]) -> None:
        """Bind the VMM's threads to the CPUs that their actors are to run on. LabError."""
        for actor in actors:
            if actor.cpu is not None:
                tasks = f"/proc/{self.child.pid}/task"
                same = f'[ "$(cat $t/comm)" = {shlex.quote(actor.comm)} ]'
                find = f"for t in {tasks}/*; do {same} && echo ${{t##*/}}; done"
                self.lab.root.run(f"taskset -p {1 << actor.cpu:x} $({find})")

    @property
    def region(self) -> Region:
        """The region of the BAR. BadInput when the setup has none."""
        if self.mapped is None:
            raise BadInput("the setup has no region", where="setup.pages", hint="say how many pages")
        return self.mapped

    def target(self, spec: PointSpec) -> CallTarget | None:
        """The calls of a point at a hypercall, None for another point. BadInput when it names pages and there
        is no region."""
        if (call := spec.hypercall) is None:
            return None
        partitions = {"child": self.partition, "root": ROOT_PARTITION}
        frames = None
        if call.pages is not None:
            first, last = call.pages
            frames = range(self.region.gfn + first, self.region.gfn + last + 1)
        return CallTarget(call.code, partitions.get(call.partition), frames, spec.nth - 1)

    def access(self, page: int, vp: int = 0) -> Access:
        """A read of the first word of a page of the region."""
        return Access(self.region.gpa + page * 4096, 8, vp=vp)

    def submit(self, vp: int, accesses: list[Access]) -> None:
        """Start accesses on a VP, to be collected when all is over."""
        self.child.submit(vp, accesses)
        self.submitted[vp] = accesses

    def pages_left(self) -> int:
        """Frames of the region in the child's SLAT now; 0 without one, and when the partition is gone."""
        if self.mapped is None or self.partition not in self.lab.witness.children():
            return 0
        frames = range(self.region.gfn, self.region.gfn + self.region.pages)
        runs = slat.clip(self.lab.hypervisor.slat(self.partition), frames)
        return sum(run.pages for run in runs if not run.no_access)


def request_text(words: str, stage: Stage) -> str:
    """An action as a line for the VMM's ``repeat``, which begins one action right behind the other. BadInput
    for one that is no single request."""
    verb, numbers, _ = _parse(words.split(), "does")
    match verb:
        case "touch":
            page, vp = numbers
            stage.submitted[vp] = [stage.access(page, vp)]
            return f"submit {vp} {encode_access(stage.submitted[vp][0])}"
        case "remove":
            return f"region del {stage.region.id}"
        case "munmap":
            return f"munmap {stage.region.map}"
    raise BadInput(f"{words!r} is no single request", where="does", hint="touch, remove and munmap are")


class Request:
    """An action that goes on in a thread of its own until the VMM has answered."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._thread = threading.Thread(target=self._run, args=(work,), name="hvlab-actor", daemon=True)
        self._error = ""

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except LabError as e:
            self._error = str(e).splitlines()[0]

    def start(self) -> None:
        """Begin, and do not wait."""
        self._thread.start()

    def answered(self) -> bool:
        """Whether the VMM has answered."""
        return self._thread.ident is not None and not self._thread.is_alive()

    def ended(self) -> bool:
        """Whether nothing will come of it any more."""
        return self.answered()

    def error(self) -> str:
        """What the VMM, or the way to it, had against it."""
        return self._error if self.answered() else ""

    def join(self) -> bool:
        """Wait for the answer; whether it came."""
        if self._thread.ident is not None:
            self._thread.join(_JOIN)
        return not self._thread.is_alive()


class Submission(Request):
    """An action that goes on when its request is answered: of a VP, or the death of the VMM."""

    def ended(self) -> bool:
        """Only when it could not even be begun: what a VP has done is collected when all is over."""
        return self.answered() and bool(self._error)


def action_of(actor: Actor, stage: Stage) -> Request | None:
    """What an actor does; None for one that acts by himself. BadInput for words that nobody knows."""
    if not actor.does:
        return None
    steps = [_step(words.split(), stage, f"actors.{actor.name}") for words in actor.does]
    work = [step for step, _ in steps]
    kind = Submission if any(goes_on for _, goes_on in steps) else Request
    return kind(lambda: _all(work))


def check(actors: Sequence[Actor]) -> None:
    """BadInput when an actor does something that nobody knows: before anything is built."""
    for actor in actors:
        for words in actor.does:
            _parse(words.split(), f"actors.{actor.name}")


def _all(work: Sequence[Callable[[], None]]) -> None:
    for step in work:
        step()


def _kill(stage: Stage) -> None:
    """Without closing the channel: another actor's request may be under way on it."""
    stage.lab.root.run(f"kill -9 {stage.child.pid}")


def _unmount_something(lab: BaseLab) -> None:
    """umount(2) waits for a grace period before it returns (fs/namespace.c, namespace_unlock)."""
    lab.root.run("mkdir -p /run/quiet && mount -t tmpfs none /run/quiet && umount /run/quiet")


def _parse(words: list[str], where: str) -> tuple[str, list[int], str]:
    """Verb, numbers and order of destruction."""
    match words:
        case ["touch" | "timer", number] if number.isdigit():
            return words[0], [int(number), 0], ""
        case ["touch" | "timer", number, vp] if number.isdigit() and vp.isdigit():
            return words[0], [int(number), int(vp)], ""
        case ["remove" | "munmap" | "kill" | "quiesce"]:
            return words[0], [], ""
        case ["destroy"]:
            return "destroy", [], "tidy"
        case ["destroy", order] if order in _ORDERS:
            return "destroy", [], order
    raise BadInput(
        f"nobody can do {' '.join(words)!r}",
        where=where,
        hint="touch PAGE [VP], timer TICKS [VP], remove, munmap, kill, quiesce, destroy [tidy|vps|partition]",
    )


def _step(words: list[str], stage: Stage, where: str) -> tuple[Callable[[], None], bool]:
    """What to call, and whether it goes on when that returns."""
    verb, numbers, order = _parse(words, where)
    child = stage.child

    def ask(request: Callable[[], None]) -> Callable[[], None]:
        def alone() -> None:
            with stage.channel:
                request()

        return alone

    match verb:
        case "touch":
            page, vp = numbers
            return ask(lambda: stage.submit(vp, [stage.access(page, vp)])), True
        case "timer":
            ticks, vp = numbers
            halt = [
                Access(_APIC_COUNT, 4, "write", ticks, vp=vp),
                Access(COUNTERS + 8 * _VECTOR, 8, "halt", 1, vp=vp),
            ]
            return ask(lambda: stage.submit(vp, halt)), True
        case "remove":
            return ask(lambda: child.unmap(stage.region, keep_host=True)), False
        case "munmap":
            return ask(lambda: child.munmap(stage.region)), False
        case "kill":
            return lambda: _kill(stage), True
        case "quiesce":
            return lambda: _unmount_something(stage.lab), False
    first = next(known for known in _ORDERS if known == order)
    return ask(lambda: child.destroy(first)), False
