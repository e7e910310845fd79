# SPDX-License-Identifier: GPL-2.0-or-later
"""Has a variant run on another host and brings its result home."""

from __future__ import annotations

import asyncio
import json
import shlex
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import IO, Any

from avocado.core.status.utils import StatusMsgInvalidJSONError, json_loads

from lab.model.errors import BadInput
from lab.nightly import agent, parcel
from lab.nightly.attempt import DYING_SECONDS
from lab.nightly.frames import BEAT_SECONDS, CHUNK, SILENCE_SECONDS, BadFrame, Kind, Parser, pack
from lab.nightly.hosts import CONNECT_SECONDS, Host
from lab.nightly.outcome import FILE, Place

HELLO_SECONDS = CONNECT_SECONDS + 45.0
"""Until the agent must have said hello: connection, login, and a Python that starts on a busy host."""
LATE_SECONDS = HELLO_SECONDS + DYING_SECONDS + 900.0
"""What a variant may take beyond its budget, with the way there and back."""
MOST_SAID = 1 << 26
"""Bytes of messages of one variant."""
_STDERR = 4096

Message = dict[str, Any]


class Lost(Exception):
    """The host is no use any more; ``begun`` says whether the variant may have run there."""

    def __init__(self, why: str, begun: bool) -> None:
        super().__init__(why)
        self.begun = begun


async def run(host: Host, place: Place, command: Sequence[str], relay: Callable[[Message], None]) -> None:
    """Run the task of ``place`` on ``host``; its result is in ``place.folder`` when this returns.

    ``relay`` gets the runner's messages as they come, but for the last one. Raises Lost, and BadInput when a
    file of the task cannot be read. When cancelled, it returns only after the host has tidied up, or after
    :data:`lab.nightly.attempt.DYING_SECONDS`.
    """
    there = f"cd {shlex.quote(host.checkout)} && exec {shlex.quote(host.command())} -P -m {agent.__name__}"
    place.folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryFile(dir=place.folder) as task,
        tempfile.TemporaryFile(dir=place.folder) as result,
    ):
        await asyncio.to_thread(parcel.pack_task, place, task)
        task.seek(0)
        ssh = await asyncio.create_subprocess_exec(
            *host.ssh(there),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # a Ctrl-C is ours to handle
        )
        conversation = _Conversation(ssh, result)
        try:
            async with asyncio.timeout(place.task.variant.budget + LATE_SECONDS):
                last = await conversation.hold(command, task, relay)
        except (ValueError, KeyError, TypeError, StatusMsgInvalidJSONError, OSError) as e:
            raise Lost(await conversation.cut(e), conversation.begun) from None
        finally:
            await conversation.leave()
        result.seek(0)
        await asyncio.to_thread(_bring_home, host, place, result, last)


def _bring_home(host: Host, place: Place, result: IO[bytes], last: Message) -> None:
    try:
        with parcel.incoming(place.folder) as temp:
            parcel.unpack(result, temp)
            came = Place(place.file, temp, place.task)
            if came.result() is not None:
                came.ran_on(host.address)
            elif last.get("result") == "error":
                came.lose(str(last.get("fail_reason")), host=host.address)
            else:
                raise BadInput(f"there is no {FILE}")
    except BadInput as e:
        raise Lost(f"what it sent cannot be used: {e}", True) from None


class _Conversation:
    """One connection. The tar file that comes is written to ``result``."""

    def __init__(self, ssh: asyncio.subprocess.Process, result: IO[bytes]) -> None:
        assert ssh.stdin is not None and ssh.stdout is not None and ssh.stderr is not None
        self._ssh, self._in, self._out = ssh, ssh.stdin, ssh.stdout
        self._errors = asyncio.ensure_future(_tail(ssh.stderr))
        self._parser = Parser(magic=True)
        self._frames: list[tuple[Kind, bytes]] = []
        self.begun = False
        self._result = result
        self._said = 0

    async def hold(self, command: Sequence[str], tar: IO[bytes], relay: Callable[[Message], None]) -> Message:
        """From hello to end; the last message."""
        agree(await self._next(HELLO_SECONDS))
        await self._send(pack(Kind.TASK, json.dumps({"command": list(command)}).encode()))
        while piece := tar.read(CHUNK):
            await self._send(pack(Kind.DATA, piece))
        await self._send(pack(Kind.END))
        self.begun = True
        beats = asyncio.ensure_future(self._beat())
        try:
            return await self._listen(relay)
        finally:
            beats.cancel()

    async def _listen(self, relay: Callable[[Message], None]) -> Message:
        last: Message = {}
        while True:
            kind, payload = await self._next(SILENCE_SECONDS)
            if kind is Kind.STATUS:
                message = json_loads(payload)
                if message["status"] == "finished":
                    last = message
                else:
                    self._said += len(payload)
                    relay(harmless(message))
            elif kind is Kind.DATA:
                self._result.write(payload)
            if self._said > MOST_SAID or self._result.tell() > 2 * parcel.MOST_BYTES:
                raise BadFrame("it sends too much")
            if kind in (Kind.STATUS, Kind.DATA):
                continue
            if kind is Kind.END and last:
                return last
            raise BadFrame(payload.decode(errors="replace") or f"unexpected {kind.name}")

    async def _next(self, budget: float) -> tuple[Kind, bytes]:
        while not self._frames:
            data = await asyncio.wait_for(self._out.read(CHUNK), budget)
            if not data:
                raise ConnectionError("the connection ended")
            self._frames += self._parser.feed(data)
        return self._frames.pop(0)

    async def _send(self, data: bytes) -> None:
        self._in.write(data)
        await asyncio.wait_for(self._in.drain(), SILENCE_SECONDS)

    async def _beat(self) -> None:
        with suppress(OSError, TimeoutError):  # the listener hears of it too
            while True:
                await asyncio.sleep(BEAT_SECONDS)
                await self._send(pack(Kind.BEAT))

    async def cut(self, error: Exception) -> str:
        """End a connection that is no use; why, in words."""
        with suppress(ProcessLookupError):
            self._ssh.kill()
        await self._ssh.wait()
        said = (await self._errors).decode(errors="replace").strip()
        if isinstance(error, TimeoutError):
            what = "it has been silent for too long, or goes on long after the budget"
        else:
            what = str(error) or type(error).__name__
        return f"{what} ({said.splitlines()[-1]})" if said else what

    async def leave(self) -> None:
        """Close the connection, if it is not, and wait until the other side has tidied up."""
        self._in.close()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ssh.wait(), DYING_SECONDS)
        if self._ssh.returncode is None:
            self._ssh.kill()
            await self._ssh.wait()
        self._errors.cancel()


def harmless(message: Message) -> Message:
    """What is taken of a message from another host. Avocado has some that write files where they like."""
    if message["status"] == "started":
        return {"status": "started"}
    if isinstance(log := message.get("log"), bytes):
        return {"status": "running", "type": "stdout", "log": log}
    return {"status": "running"}


def agree(hello: tuple[Kind, bytes]) -> None:
    """BadFrame where the other side's first words are not those of an agent of this very checkout."""
    kind, payload = hello
    if kind is not Kind.HELLO:
        raise BadFrame(payload.decode(errors="replace"))
    ours, theirs = agent.about(), json.loads(payload)
    if theirs != ours:
        other = ", ".join(
            f"{k} {theirs.get(k)} instead of {v}" for k, v in ours.items() if theirs.get(k) != v
        )
        raise BadFrame(f"its checkout is not the one here: {other}")


async def _tail(stream: asyncio.StreamReader) -> bytes:
    kept = b""
    while data := await stream.read(CHUNK):
        kept = (kept + data)[-_STDERR:]
    return kept
