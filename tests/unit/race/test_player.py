# SPDX-License-Identifier: GPL-2.0-or-later
"""Schedules played on a machine that is none: two threads that pass numbered places, a flag for the SLAT."""

from dataclasses import dataclass, field

from lab.machine.gdb import Stop
from lab.model.race import Actor, Outcome, PointSpec, Step
from lab.race.player import Player
from lab.race.points import Point
from lab.race.schedules import Schedule
from lab.race.stage import Submission
from lab.race.tasks import Waiting

STUBS = {"vp": 0x1000, "vmm": 0x1100}
CPU = {"vp": 0, "vmm": 1}
IF = 1 << 9


@dataclass
class World:
    """``code``: the places of each thread; ``waits_for``: places that wait for another one to be past."""

    code: dict[str, list[int]]
    at: dict[str, int] = field(default_factory=dict)
    """Index into the code; past its end the thread is idle."""
    spinning: set[str] = field(default_factory=set)
    waits_for: dict[int, int] = field(default_factory=dict)
    past: set[int] = field(default_factory=set)

    def rip(self, who):
        return self.code[who][self.at[who]] if self.at[who] < len(self.code[who]) else 0

    def stuck(self, who):
        return self.waits_for.get(self.rip(who), 0) not in (self.past | {0})


class FakeGdb:
    """Runs the threads of a world one place at a time, and stops at breakpoints."""

    cpus = 2

    def __init__(self, world):
        self.world, self.breakpoints, self.running = world, set(), False
        self.stepped = set()

    def registers(self, cpu):
        who = "vp" if cpu == 0 else "vmm"
        return {"rip": self.world.rip(who) if who in self.world.at else 0, "rsp": 0, "eflags": IF, "cpu": cpu}

    def set_register(self, cpu, name, value):
        self.world.spinning.add("vp" if cpu == 0 else "vmm")

    def set_breakpoint(self, address):
        self.breakpoints.add(address)

    def clear_breakpoint(self, address):
        self.breakpoints.discard(address)

    def step(self, cpu):
        self._advance("vp" if cpu == 0 else "vmm")

    def resume(self, cpus=None):
        self.running = True

    def interrupt(self):
        self.running = False
        return Stop(1, False)

    def write_physical(self, address, code):
        if code[0] == 0xE9:
            who = "vp" if address < 0x1100 else "vmm"
            self.world.spinning.discard(who)

    def wait(self, budget):
        world = self.world
        for _ in range(50):
            for who in sorted(world.at):
                if who in world.spinning or not world.rip(who) or world.stuck(who):
                    continue
                if world.rip(who) in self.breakpoints and (who, world.at[who]) not in self.stepped:
                    self.running = False
                    return Stop(CPU[who], True)
                self._advance(who)
        return None

    def _advance(self, who):
        world = self.world
        if world.rip(who):
            world.past.add(world.rip(who))
            world.at[who] += 1


class FakeTasks:
    def __init__(self, world):
        self.world = world

    def cpu_of(self, registers):
        return registers["cpu"]

    def in_interrupt(self, cpu, stack_pointer):
        return False

    def current(self, cpu):
        return cpu

    def comm(self, task):
        return ("vp-0", "mshv-vmm")[task]

    def where(self, task):
        who = ("vp", "vmm")[task]
        if not self.world.rip(who):
            return Waiting("", False, ("schedule", "futex_do_wait"))
        return Waiting("a mutex", False, ()) if self.world.stuck(who) else Waiting("", True, ())


class FakeMemory:
    def physical(self, address):
        return address


class Begin:
    """An action of the world."""

    def __init__(self, world, who):
        self.world, self.who = world, who

    def start(self):
        self.world.at[self.who] = 0

    def ended(self):
        return self.who in self.world.at and not self.world.rip(self.who)

    def error(self):
        return ""


class Touch(Submission, Begin):
    def __init__(self, world, who):
        Begin.__init__(self, world, who)

    start, error = Begin.start, Begin.error

    def ended(self):
        return False

    def answered(self):
        return True


def play(world, schedule, places, violated=lambda: "", later=()):
    """``places``: (actor, address) that are points, by number."""
    table = [
        (Step(actor, PointSpec(function=f"f{address}")), Point(PointSpec(f"f{address}"), (address,), "x"))
        for actor, address in places
    ]
    player = Player(
        gdb=FakeGdb(world),
        tasks=FakeTasks(world),
        memory=FakeMemory(),
        actors={"vp": Actor("vp", "vp-0"), "vmm": Actor("vmm", "mshv-vmm")},
        order=table,
        actions={"vp": Touch(world, "vp"), "vmm": Begin(world, "vmm")},
        stubs=STUBS,
        schedule=schedule,
        gate=0,
        tasks_known={"vp": 0, "vmm": 1},
        removers=frozenset({"vmm"}),
        violated=violated,
        later=lambda actor: later if actor == "vp" else (),
    )
    return player, player.run()


def named(player):
    return [f"{step.actor}:{step.at}" for step in player.steps]


PLACES = [("vp", 1), ("vp", 2), ("vp", 3), ("vmm", 11)]


def test_one_stands_back_and_the_other_ends_first():
    world = World({"vp": [1, 2, 3], "vmm": [10, 11, 12]})
    player, attempt = play(world, Schedule(("vp", "vmm"), {"vp": (1,), "vmm": ()}), PLACES)
    assert attempt.outcome is Outcome.CLEAN
    assert named(player) == ["vp:f1", "vp:f2", "vmm:done"]
    assert world.past == {1, 2, 3, 10, 11, 12}


def test_both_stand_back():
    world = World({"vp": [1, 2, 3], "vmm": [10, 11, 12]})
    player, attempt = play(world, Schedule(("vmm", "vp"), {"vp": (2,), "vmm": (3,)}), PLACES)
    assert attempt.outcome is Outcome.CLEAN
    assert named(player) == ["vp:f1", "vmm:f11", "vp:f3", "vmm:done"]


def test_a_violation_at_once_ends_it():
    world = World({"vp": [1, 2, 3], "vmm": [10]})
    player, _ = play(world, Schedule(("vp", "vmm"), {"vp": (1,), "vmm": ()}), PLACES, lambda: "pages")
    assert player.found == "pages"
    assert named(player) == ["vp:f1", "vp:f2", "vmm:done"]
    assert not player.sightings


def test_a_violation_is_named_where_it_was_last_seen():
    """The VP maps at place 2 and lets go at 4, behind the removal."""
    world = World({"vp": [1, 2, 3, 4, 5], "vmm": [10]})
    places = [("vp", n) for n in (1, 2, 3, 4, 5)]

    def violated():
        return "pages" if 2 in world.past and 4 not in world.past else ""

    schedule = Schedule(("vmm", "vp"), {"vp": (), "vmm": ()})
    player, attempt = play(world, schedule, places, violated, later=range(5))
    assert attempt.outcome is Outcome.CLEAN
    assert player.found == "pages"
    assert [str(step.at) for step in player.sightings] == ["f3", "f4"]


def test_who_waits_lets_others_go_on():
    """The VMM's place 11 needs what the VP has at 2 to be given back at 3."""
    world = World({"vp": [1, 2, 3], "vmm": [10, 11, 12]}, waits_for={11: 3})
    player, attempt = play(world, Schedule(("vp", "vmm"), {"vp": (2,), "vmm": ()}), PLACES[:3])
    assert attempt.outcome is Outcome.CLEAN
    assert player.blocked
    assert any("waits for a mutex" in event.what for event in attempt.events)
    assert world.past == {1, 2, 3, 10, 11, 12}
