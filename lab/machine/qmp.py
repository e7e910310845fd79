# SPDX-License-Identifier: GPL-2.0-or-later
"""QMP for code that is not asynchronous.

``qemu.qmp`` is; its event loop runs in one thread of this module per connection. Every call has a
timeout, and whatever goes wrong becomes :class:`QmpError`.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from qemu.qmp import EventListener, Message, QMPClient, Runstate
from qemu.qmp.error import QMPError as _UpstreamError

from lab.model.errors import LabUnavailable

COMMAND_SECONDS = 10.0

_T = TypeVar("_T")
Event = dict[str, Any]


class QmpError(LabUnavailable):
    """QEMU's monitor refused a command, did not answer in time, or is gone."""


class Qmp:
    """One connection. ``on_event`` is called in the connection's own thread and must not block."""

    def __init__(self, path: Path, on_event: Callable[[Event], None] | None = None) -> None:
        self.path = path
        self._on_event = on_event
        self._client = QMPClient("hvlab")
        # Upstream logs every lost connection as an error with traceback; here it is an exception.
        self._client.logger = logging.getLogger("lab.qmp")
        self._client.logger.addHandler(logging.NullHandler())
        self._client.logger.propagate = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="hvlab-qmp", daemon=True)
        self._events: asyncio.Task[None] | None = None
        self._thread.start()

    def connect(self, timeout: float = COMMAND_SECONDS) -> None:
        """Connect and negotiate. Raises QmpError."""
        self._call(self._connect(), timeout, "connect")

    def execute(self, command: str, *, timeout: float = COMMAND_SECONDS, **arguments: Any) -> Any:
        """Run a command; ``_`` in argument names stands for ``-``. Returns its value. Raises QmpError.

        Connects first where nobody has: QEMU serves one monitor connection at a time, so that one which
        is made only when it is needed leaves it to others.
        """
        if self._client.runstate is Runstate.IDLE:
            self.connect(timeout)
        wire = {name.replace("_", "-"): value for name, value in arguments.items()} or None
        return self._call(self._client.execute(command, wire), timeout, command)

    def hmp(self, line: str, *, cpu: int | None = None, timeout: float = COMMAND_SECONDS) -> str:
        """Run a command of the human monitor, as seen from a CPU. Raises QmpError."""
        extra = {} if cpu is None else {"cpu_index": cpu}
        text = self.execute("human-monitor-command", timeout=timeout, command_line=line, **extra)
        return str(text).replace("\r\n", "\n")

    def close(self) -> None:
        """Disconnect and end the thread; safe to call twice."""
        if self._loop.is_closed():
            return
        with contextlib.suppress(QmpError):
            self._call(self._disconnect(), 2.0, "disconnect")
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(2.0)
        if not self._thread.is_alive():
            self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _call(self, work: Coroutine[Any, Any, _T], timeout: float, what: str) -> _T:
        if self._loop.is_closed():
            work.close()
            raise QmpError(f"QMP {what}: the connection is closed", where=str(self.path))
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(timeout)
        except concurrent.futures.TimeoutError:
            future.cancel()
            raise QmpError(f"QMP {what}: no answer within {timeout:g} s", where=str(self.path)) from None
        except concurrent.futures.CancelledError:
            raise QmpError(f"QMP {what}: connection closed meanwhile", where=str(self.path)) from None
        except (_UpstreamError, OSError, EOFError, asyncio.IncompleteReadError) as error:
            raise QmpError(f"QMP {what}: {error or type(error).__name__}", where=str(self.path)) from None

    async def _connect(self) -> None:
        listener = EventListener()
        self._client.register_listener(listener)
        await self._client.connect(str(self.path))
        self._events = asyncio.create_task(self._pump(listener))

    async def _pump(self, listener: EventListener) -> None:
        async for message in listener:
            self._deliver(message)

    def _deliver(self, message: Message) -> None:
        if self._on_event is not None:
            self._on_event(dict(message))

    async def _disconnect(self) -> None:
        if self._events is not None:
            self._events.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._events
        with contextlib.suppress(_UpstreamError, OSError, EOFError):
            await self._client.disconnect()
