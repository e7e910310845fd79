# SPDX-License-Identifier: GPL-2.0-or-later
"""Orders with points at hypercalls, on a toy: who calls, and what becomes of the call, is a list."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from lab.hypervisor.holds import HoldReport
from lab.hypervisor.layout import HoldState
from lab.machine.gdb import Stop
from lab.model.race import Actor, Attempt, HoldKind, HypercallSpec, Outcome, PointSpec, Step
from lab.race.calls import Calls
from lab.race.diagram import lanes
from lab.race.engine import Choreographer
from lab.race.memory import NotMapped
from lab.race.points import CallTarget, Point
from lab.race.tasks import Waiting

MAP, UNMAP = 0x4B, 0x4C
VP, VMM, STRANGER, NOBODY = 0x1000, 0x2000, 0x3000, 0x4000
"""Stacks, which tell who calls; the last is one of interrupts."""


@dataclass
class Toy:
    """Calls to come, as (code, stack); a hold on code stops the first that matches, the others are made."""

    coming: list[tuple[int, int]]
    interrupts_on: bool = True
    made: list[tuple[int, int]] = field(default_factory=list)
    holds: list[ToyHold] = field(default_factory=list)
    begun: list[str] = field(default_factory=list)

    def arm(self, code: int, **about: object) -> ToyHold:
        hold = ToyHold(self, code, about)
        self.holds.append(hold)
        return hold

    def tick(self) -> None:
        stuck = {hold.stack for hold in self.holds if hold.active and hold.state is HoldState.HELD}
        for call in list(self.coming):
            code, stack = call
            if stack in stuck:
                continue
            hold = next((h for h in self.holds if h.wants(code)), None)
            if hold is not None:
                hold.begin(stack)
                return
            self.made.append(call)
            self.coming.remove(call)


@dataclass
class ToyHold:
    toy: Toy
    code: int
    about: dict[str, object]
    active: bool = True
    state: HoldState = HoldState.ARMED
    generation: int = 0
    stack: int = 0

    def wants(self, code: int) -> bool:
        return self.active and code == self.code and self.state is not HoldState.HELD

    def begin(self, stack: int) -> None:
        self.generation, self.stack, self.state = self.generation + 1, stack, HoldState.HELD

    def look(self) -> HoldReport:
        on = self.toy.interrupts_on
        return HoldReport(self.state, self.generation, 0, 1, on, 5, 0, 0xFFFF_0000, self.stack)

    def end(self, state: HoldState) -> None:
        if self.state is HoldState.HELD:
            self.toy.coming.remove((self.code, self.stack))
            self.toy.made.append((self.code, self.stack))
            self.state = state

    def release(self) -> None:
        self.end(HoldState.RELEASED)

    def clear(self) -> None:
        if not self.active:
            return
        self.active = False
        held = self.state is HoldState.HELD
        self.end(HoldState.RELEASED)
        self.state = HoldState.HELD if held else self.state  # a cleared hold looks as it stood then


class ToyGdb:
    cpus = 2

    def __init__(self, toy: Toy, on_wait: Callable[[], None]) -> None:
        self.toy, self.running, self.on_wait = toy, False, on_wait

    def registers(self, cpu: int) -> dict[str, int]:
        return {"rip": 0, "rsp": 0, "eflags": 0}

    def resume(self, cpus: list[int] | None = None) -> None:
        self.running = True

    def interrupt(self) -> Stop:
        self.running = False
        return Stop(0, False)

    def wait(self, budget: float) -> Stop | None:
        self.toy.tick()
        self.on_wait()
        return None


class ToyTasks:
    def named(self, comm: str) -> int | None:
        return {"vp-0": VP, "mshv-vmm": VMM}.get(comm)

    def __init__(self) -> None:
        self.looks = 0

    def owner(self, stack: int) -> int | None:
        self.looks += 1
        if self.looks == 1:
            raise NotMapped("the list of tasks is torn at the first look")
        return stack if stack != NOBODY else None

    def comm(self, task: int) -> str:
        return {VP: "vp-0", VMM: "mshv-vmm"}.get(task, "sshd")

    def running(self, task: int, stack: int, instruction: int) -> Waiting:
        return Waiting("", True, ("0xffff0000", "hv_do_rep_hypercall+0x20", "hv_call_map+0x3"))

    def where(self, task: int) -> Waiting:
        return Waiting("", False, ("schedule", "somewhere_else"))


@dataclass
class Does:
    toy: Toy
    name: str
    calls: tuple[tuple[int, int], ...]

    def start(self) -> None:
        self.toy.begun.append(self.name)
        self.toy.coming += self.calls

    def answered(self) -> bool:
        return self.name in self.toy.begun and not set(self.calls) & set(self.toy.coming)

    def ended(self) -> bool:
        return False

    def error(self) -> str:
        return ""


def call(name: str, code: int, hold: HoldKind = HoldKind.AUTO, actor: str = "vp") -> tuple[Step, Point]:
    spec = PointSpec(hypercall=HypercallSpec(code, name, "child"))
    return Step(actor, spec, hold), Point(spec, (), "", CallTarget(code, 2))


def done(actor: str) -> tuple[Step, Point]:
    return Step(actor, PointSpec()), Point(PointSpec(), (), "")


def play(
    toy: Toy,
    order: list[tuple[Step, Point]],
    *,
    vp: tuple[tuple[int, int], ...] = ((MAP, VP),),
    vmm: tuple[tuple[int, int], ...] = ((UNMAP, VMM),),
    on_order: Callable[[], None] = lambda: None,
    on_wait: Callable[[], None] = lambda: None,
    budget: float = 0.3,
) -> Attempt:
    return Choreographer(
        gdb=ToyGdb(toy, on_wait),  # type: ignore[arg-type]
        tasks=ToyTasks(),  # type: ignore[arg-type]
        memory=None,  # type: ignore[arg-type]
        actors={"vp": Actor("vp", "vp-0"), "vmm": Actor("vmm", "mshv-vmm")},
        order=order,
        actions={"vp": Does(toy, "vp", vp), "vmm": Does(toy, "vmm", vmm)},
        stubs={},
        calls=Calls(toy, 2),  # type: ignore[arg-type]
        on_order=on_order,
        budget=budget,
    ).run()


def test_actor_is_held_at_its_hypercall_while_the_other_one_ends() -> None:
    toy, at_the_end = Toy([]), []
    order = [call("MAP", MAP), done("vmm")]
    attempt = play(toy, order, on_order=lambda: at_the_end.extend(toy.made))
    assert attempt.outcome is Outcome.CLEAN, attempt
    assert at_the_end == [(UNMAP, VMM)], "the VP's call was not made before the VMM had ended"
    assert toy.made == [(UNMAP, VMM), (MAP, VP)]
    assert attempt.holds == {"vp": HoldKind.HYPERCALL}
    assert toy.holds[0].about["partition"] == 2
    held = next(event for event in attempt.events if "held" in event.what)
    assert held.what == "at hypercall MAP of the child: in hv_call_map(), held (hypercall, interrupts on)"
    assert held.cpu == 1
    (note,) = attempt.notes
    assert "with interrupts on" in note
    (line,) = [text for text in lanes(attempt, ["vp", "vmm"]) if "has ended" in text]
    assert "#" in line


def test_interrupts_off_are_told_in_event_and_note() -> None:
    attempt = play(Toy([], interrupts_on=False), [call("MAP", MAP), done("vmm")])
    assert any("held (hypercall, interrupts off)" in event.what for event in attempt.events)
    assert "with interrupts off" in attempt.notes[0] and "CPU 1" in attempt.notes[0]


def test_strangers_go_on_and_are_counted() -> None:
    strangers = [(MAP, STRANGER), (MAP, VMM), (MAP, NOBODY)]
    toy = Toy(list(strangers))
    attempt = play(toy, [call("MAP", MAP), done("vmm")])
    assert attempt.outcome is Outcome.CLEAN, attempt
    assert attempt.passed == 3
    assert toy.made == [*strangers, (UNMAP, VMM), (MAP, VP)]


def test_actor_that_is_only_to_be_seen_goes_on() -> None:
    toy = Toy([])
    attempt = play(toy, [call("MAP", MAP, HoldKind.NONE), done("vmm")])
    assert attempt.outcome is Outcome.CLEAN and not attempt.holds and not attempt.notes
    assert toy.made == [(MAP, VP), (UNMAP, VMM)]
    assert any(event.what.endswith("goes on") for event in attempt.events)


def test_two_actors_are_held_at_two_hypercalls() -> None:
    toy, at_the_end = Toy([]), []
    order = [call("MAP", MAP), call("UNMAP", UNMAP, actor="vmm")]
    attempt = play(toy, order, on_order=lambda: at_the_end.extend(toy.made))
    assert attempt.outcome is Outcome.CLEAN and not at_the_end
    assert sorted(toy.made) == [(MAP, VP), (UNMAP, VMM)]


def test_who_comes_early_to_a_later_step_waits_there() -> None:
    """The VP is at its hypercall before the VMM is at its own, which the order wants first."""
    toy = Toy([(MAP, VP)])
    attempt = play(toy, [call("UNMAP", UNMAP, actor="vmm"), call("MAP", MAP)], vp=())
    assert attempt.outcome is Outcome.CLEAN, attempt
    assert [e.what.split(",")[0] for e in attempt.events if e.actor == "vp"][:2] == [
        "at hypercall MAP of the child: in hv_call_map()",
        "was waiting at hypercall MAP of the child",
    ]


def test_call_before_the_step_before_is_not_the_one() -> None:
    """The hold of an actor's second step begins when the first has been taken."""
    toy = Toy([])
    order = [call("MAP", MAP), done("vmm"), call("UNMAP", UNMAP)]
    attempt = play(toy, order, vp=((UNMAP, VP), (MAP, VP), (UNMAP, VP)))
    assert attempt.outcome is Outcome.CLEAN, attempt
    assert toy.made[0] == (UNMAP, VP) and attempt.passed == 0


def test_hold_that_ended_by_itself_proves_nothing() -> None:
    toy = Toy([])

    def expire() -> None:
        if "vmm" in toy.begun:
            toy.holds[0].end(HoldState.EXPIRED)

    attempt = play(toy, [call("MAP", MAP), done("vmm")], on_wait=expire)
    assert attempt.outcome is Outcome.BROKEN
    assert "held for too long" in attempt.reason


def test_call_that_nobody_makes_is_told_in_time() -> None:
    toy = Toy([])
    attempt = play(toy, [call("MAP", MAP), done("vmm")], vp=(), budget=0.05)
    assert attempt.outcome is Outcome.NOT_REACHED
    assert "vp does not reach hypercall MAP of the child within 0.05 s" in attempt.reason
    assert not toy.holds[0].active, "nobody may be held when all is over"
