# SPDX-License-Identifier: GPL-2.0-or-later
"""Avocado's spawners for kind ``hvlab``: here, and on other hosts by SSH.

Avocado waits without end for the last message of a task whose runner was killed. Both spawners send it for
such a runner.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from avocado.core.plugin_interfaces import Spawner
from avocado.core.spawners.common import SpawnCapabilities, SpawnerMixin, SpawnMethod
from avocado.plugins.spawners.process import ProcessSpawner

from lab.model.errors import BadInput, LabUnavailable
from lab.nightly import remote
from lab.nightly.attempt import DYING_SECONDS, wait_until_ended
from lab.nightly.hosts import Host
from lab.nightly.plugins.runner import finished, place_of

MOST_LOST = 2
"""A variant that has lost so many hosts is given up: it may be what kills them."""
_WATCH = 0.5
_RECENT = 100
_LATE_SECONDS = 5.0
"""Until the last message of a runner that has ended must have been read."""

Message = dict[str, Any]


class Telling:
    """Speaks to the job on a task's behalf. ``job.events`` is None under ``avocado run``."""

    def __init__(self, job: Any, runtime_task: Any) -> None:
        self._job, self._task = job, runtime_task.task
        self._key = str(self._task.identifier)
        self.place = place_of(self._task.runnable)
        self._started = False

    @property
    def _repo(self) -> Any:
        return next(s.runner.status_repo for s in self._job.test_suites if self._task.runnable in s.tests)

    def message(self, message: Message) -> None:
        """Hand over a runner's message, as of now: clocks of hosts differ. Only the first start counts."""
        if message["status"] == "started":
            if self._started:
                return
            self._started = True
            message["output_dir"] = self._task.runnable.output_dir
        self._repo.process_message(
            {**message, "time": time.monotonic(), "id": self._key, "job_id": self._task.job_id}
        )

    def ended(self) -> bool:
        """Whether the last message is there."""
        latest = self._repo.get_latest_task_data(self._key) or {}
        return latest.get("result") is not None

    def fail_reason(self) -> str:
        """What the last message said; "" when it has not come."""
        return str((self._repo.get_latest_task_data(self._key) or {}).get("fail_reason") or "")

    def end(self, message: Message) -> None:
        """The last message."""
        self.message({"status": "started"})
        self.message({"status": "finished", **message})

    def last_words(self) -> str:
        """The last line that the variant said."""
        for message in reversed((self._repo.get_all_task_data(self._key) or [])[-_RECENT:]):
            lines = message.get("log", b"").decode(errors="replace").splitlines()
            if words := next((line.strip() for line in reversed(lines) if line.strip()), ""):
                return words
        return ""

    def event(self, kind: str, text: str = "") -> None:
        """Tell whoever runs the job, if anybody does."""
        if (events := getattr(self._job, "events", None)) is not None:
            events(kind, text or str(self.place.file))

    def step(self) -> None:
        """A sign of life, with what the variant said last."""
        words = self.last_words()
        self.event("step", f"{self.place.task.id}: {words}" if words else self.place.task.id)

    def aborted(self) -> bool:
        """Whether the job is to end now."""
        flag = getattr(self._job, "aborted", None)
        return flag is not None and bool(flag.is_set())


class LocalSpawner(ProcessSpawner):
    """Avocado's process spawner that survives its runner's death."""

    description = "Variants of a series on this machine"

    def is_operational(self) -> bool:
        """Always."""
        return True

    @staticmethod
    def is_task_alive(runtime_task: Any) -> bool:
        """Whether it was started: how it ends is seen by :meth:`wait_task` in any case."""
        return runtime_task.spawner_handle is not None

    async def spawn_task(self, runtime_task: Any) -> bool:
        """Start the runner; nothing is started any more once the job is to end."""
        telling = Telling(self._job, runtime_task)
        if telling.aborted():
            return False
        telling.event("note", f"{telling.place.task.id} starts")
        return bool(await super().spawn_task(runtime_task))

    async def wait_task(self, runtime_task: Any) -> None:
        """Wait for the runner and send the last message if it did not."""
        telling, handle = Telling(self._job, runtime_task), runtime_task.spawner_handle.wait_task
        late = time.monotonic() + telling.place.task.variant.budget + 3 * DYING_SECONDS
        while not (await asyncio.wait({handle}, timeout=_WATCH))[0]:
            telling.step()
            if telling.aborted() or time.monotonic() > late:
                await self.terminate_task(runtime_task)
        deadline = time.monotonic() + _LATE_SECONDS
        while not telling.ended() and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        if telling.aborted():
            if not telling.ended():
                telling.end({"result": "interrupted", "fail_reason": "ended before it was done"})
            return
        with suppress(LabUnavailable):  # a killed runner leaves its guard to end the variant
            await asyncio.to_thread(wait_until_ended, telling.place)
        if telling.place.result() is None:
            code = runtime_task.spawner_handle.process.returncode
            how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
            telling.place.lose(telling.fail_reason() or f"Avocado's runner {how}")
        if not telling.ended():
            telling.end(finished(telling.place))
        telling.event("done")

    async def terminate_task(self, runtime_task: Any) -> bool:
        """End the runner, which tidies up first."""
        process = runtime_task.spawner_handle.process
        with suppress(ProcessLookupError):
            process.terminate()
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), DYING_SECONDS + 5.0)
        if process.returncode is None:
            process.kill()
            await process.wait()
        return True


class Pool:
    """Hosts, each with room for one variant."""

    def __init__(self, hosts: Sequence[Host]) -> None:
        self._free = list(hosts)
        self._live = len(hosts)
        self.retired: list[str] = []
        """Each with the reason."""
        self._changed = asyncio.Condition()

    async def take(self, avoid: Sequence[Host]) -> Host | None:
        """A free host, rather none of ``avoid``; waits for one. None when no host is left."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._free or not self._live)
            if not self._free:
                return None
            best = min(self._free, key=lambda h: h in avoid)
            self._free.remove(best)
            return best

    async def give_back(self, host: Host) -> None:
        """It is free again."""
        async with self._changed:
            self._free.append(host)
            self._changed.notify_all()

    async def retire(self, why: str) -> None:
        """A host that was taken does not come back."""
        async with self._changed:
            self._live -= 1
            self.retired.append(why)
            self._changed.notify_all()


class SshSpawner(Spawner, SpawnerMixin):
    """Runs tasks on the hosts of a matrix job (``lab.nightly.plugins.job``)."""

    description = "Variants of a series on other hosts, by SSH"
    METHODS = (SpawnMethod.STANDALONE_EXECUTABLE,)
    CAPABILITIES = (SpawnCapabilities.ENVIRONMENT_PRESERVATION,)

    def __init__(self, config: Any = None, job: Any = None) -> None:
        SpawnerMixin.__init__(self, config, job)
        self._hosts: tuple[Host, ...] = getattr(job, "hosts", ())
        self._pool: Pool | None = None

    def is_operational(self) -> bool:
        """Only with hosts."""
        return bool(self._hosts)

    @staticmethod
    def is_task_alive(runtime_task: Any) -> bool:
        """Whether it was started."""
        return runtime_task.spawner_handle is not None

    async def spawn_task(self, runtime_task: Any) -> bool:
        """Start to carry the task to a host."""
        telling = Telling(self._job, runtime_task)
        if telling.aborted():
            return False
        self.create_task_output_dir(runtime_task)
        runtime_task.spawner_handle = asyncio.ensure_future(self._carry(telling, runtime_task))
        return True

    def create_task_output_dir(self, runtime_task: Any) -> None:
        """Avocado's logs of the task are kept here."""
        folder = self.task_output_dir(runtime_task)
        os.makedirs(folder, exist_ok=True)
        runtime_task.task.setup_output_dir(folder)

    async def wait_task(self, runtime_task: Any) -> None:
        """Until its result is here, or it is given up."""
        telling, handle = Telling(self._job, runtime_task), runtime_task.spawner_handle
        while not (await asyncio.wait({handle}, timeout=_WATCH))[0]:
            telling.step()
            if telling.aborted():
                await self.terminate_task(runtime_task)
        if handle.cancelled():
            telling.end({"result": "interrupted", "fail_reason": "ended before it was done"})
        else:
            handle.result()
            telling.event("done")

    async def terminate_task(self, runtime_task: Any) -> bool:
        """Leave the host, which tidies up."""
        runtime_task.spawner_handle.cancel()
        await asyncio.wait({runtime_task.spawner_handle})
        return True

    async def _carry(self, telling: Telling, runtime_task: Any) -> None:
        self._pool = self._pool or Pool(self._hosts)
        command = tuple(runtime_task.task.runnable.kwargs.get("command") or ())
        place = telling.place
        lost: list[tuple[Host, str]] = []
        while True:
            if (host := await self._pool.take([h for h, _ in lost])) is None:
                place.lose("no host is left to run it", self._pool.retired)
                break
            telling.event("note", f"{place.task.id} starts on {host.address}")
            try:
                await remote.run(host, place, command, telling.message)
            except remote.Lost as e:
                why = f"{host.address}: {e}"
                await self._pool.retire(why)
                telling.event("retired", why)
                if e.begun:
                    lost.append((host, why))
                if len(lost) >= MOST_LOST:
                    place.lose(f"lost {len(lost)} hosts in a row", [why for _, why in lost])
                    break
            except BadInput as e:
                await self._pool.give_back(host)
                place.lose(str(e))
                break
            except OSError as e:  # of this machine: no ssh, a full disk
                await self._pool.give_back(host)
                place.lose(f"cannot be sent to another host: {e}")
                break
            else:
                await self._pool.give_back(host)
                break
        telling.end(finished(place))

    @staticmethod
    async def check_task_requirements(runtime_task: Any) -> bool:
        """Nothing is needed here."""
        del runtime_task
        return True

    @staticmethod
    async def is_requirement_in_cache(runtime_task: Any) -> bool:
        """Tasks of kind hvlab have no requirements."""
        del runtime_task
        return False

    @staticmethod
    async def save_requirement_in_cache(runtime_task: Any) -> None:
        """Nothing to do."""

    @staticmethod
    async def update_requirement_cache(runtime_task: Any, result: str) -> None:
        """Nothing to do."""
