# SPDX-License-Identifier: GPL-2.0-or-later
"""SSH by paramiko in such a way that no wait is silent.

paramiko's blocking calls know nothing of the machine behind the connection. Here each of them runs
while the caller polls a :class:`Watch`, so that the death of the guest ends the wait at once with
its real cause instead of a time-out or "EOF during negotiation" later.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import paramiko

from lab.model.errors import BadInput, GuestDied, LabError

POLL = 0.2
"""Longest time in seconds between two looks at the watch."""
_RETRY = 0.1
_CLOSE_POLL = 0.002
_CHANNEL_TRIES = 5
_BANNER_SECONDS = 5.0
_SETTLE_SECONDS = 2.0
"""How long after a broken connection the watch may need to see why."""
_WINDOW = 4 << 20
_LOG = "hvlab.ssh"

T = TypeVar("T")
Dial = Callable[[float], paramiko.Channel]
TRANSPORT_ERRORS = (paramiko.SSHException, EOFError, OSError)

logging.getLogger(_LOG).addHandler(logging.NullHandler())


class Watch(Protocol):
    """What tells whether the guest still lives."""

    def check(self, phase: str) -> None:
        """Raise GuestDied if the guest has died or hangs, naming ``phase``."""
        ...

    def lost_task(self, pid: int) -> str:
        """What the kernel says of the accident that ended a task; "" as far as is known of none."""
        ...


class NoWatch:
    """For guests that nobody watches (tests, external machines)."""

    def check(self, phase: str) -> None:
        """Never raises."""

    def lost_task(self, pid: int) -> str:
        """Never knows of one."""
        return ""


class Transport:
    """One SSH connection to ``host:port`` as ``user`` with the key in ``key_path``.

    ``host_key`` is the expected host key (``ssh-ed25519 BASE64``), or several of which one must be
    shown; empty accepts any. ``dial`` opens the connection (within so many seconds) where a plain TCP
    connection would not reach it. ``factor`` stretches the patience with one attempt to log in.
    """

    def __init__(
        self,
        host: str,
        port: int,
        key_path: Path,
        watch: Watch,
        host_key: str | Sequence[str] = "",
        dial: Dial | None = None,
        user: str = "root",
        factor: float = 1.0,
    ) -> None:
        self._dial = dial
        self._banner_seconds = _BANNER_SECONDS * factor
        self.host = host
        self.port = port
        self.watch = watch
        self._key_path = key_path
        keys = [host_key] if isinstance(host_key, str) else host_key
        self._host_keys = tuple(key for key in keys if key)
        self._user = user
        self._ssh: paramiko.Transport | None = None
        self._aside: list[paramiko.Channel] = []

    @property
    def where(self) -> str:
        """For messages."""
        return f"{self._user} at {self.host}:{self.port}"

    def connect(self, budget: float) -> None:
        """Connect and log in, trying again until ``budget`` seconds have passed.

        GuestDied (kind ``ssh``) when that does not succeed, or what the watch says.
        """
        phase = "connecting by SSH"
        deadline = time.monotonic() + budget
        key = _private_key(self._key_path)
        last: BaseException | None = None
        while (left := deadline - time.monotonic()) > 0:
            self.watch.check(phase)
            try:
                self._ssh = self._attempt(key, left, phase)
                return
            except paramiko.AuthenticationException as e:
                raise LabError(
                    f"the root refuses the lab's key: {_text(e)}",
                    where=self.where,
                    hint="the overlay with authorized_keys is not in the initramfs, or is another run's",
                ) from e
            except TRANSPORT_ERRORS as e:
                last = e
            time.sleep(_RETRY)
        self.watch.check(phase)
        raise GuestDied(
            f"no SSH login within {budget:g} s: {_text(last)}",
            kind="ssh",
            phase=phase,
            where=self.where,
            hint="look at the console: HVLAB-SSH-FAILED, HVLAB-NO-NETWORK or no HVLAB-READY at all",
        ) from last

    def _attempt(self, key: paramiko.PKey, left: float, phase: str) -> paramiko.Transport:
        sock: socket.socket | paramiko.Channel
        if self._dial is not None:
            sock = self._dial(min(left, self._banner_seconds))
        else:
            sock = socket.create_connection((self.host, self.port), timeout=min(left, self._banner_seconds))
            # Without this a channel that opens right after another has closed waits 40 ms for its ACK.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ssh = paramiko.Transport(sock, default_window_size=_WINDOW)
        try:
            ssh.set_log_channel(_LOG)
            ssh.daemon = True
            ssh.banner_timeout = min(left, self._banner_seconds)
            self._prefer_known(ssh)
            self._event(ssh, lambda event: ssh.start_client(event=event), left, phase)
            seen = ssh.get_remote_server_key()
            if self._host_keys and f"{seen.get_name()} {seen.get_base64()}" not in self._host_keys:
                raise LabError(
                    "the host key is not the one that is known: another machine answers",
                    where=self.where,
                    hint="the lab's QEMU has ended and its port was taken over; start the lab again",
                )
            self._event(ssh, lambda event: ssh.auth_publickey(self._user, key, event), left, phase)
            if not ssh.is_authenticated():
                raise paramiko.AuthenticationException("not in authorized_keys")
        except BaseException:
            ssh.close()
            raise
        return ssh

    def _prefer_known(self, ssh: paramiko.Transport) -> None:
        """Ask for a host key of a kind that we know: a server has one of each."""
        kinds = [key.split()[0] for key in self._host_keys]
        options = ssh.get_security_options()
        known = [
            kind for kind in options.key_types if kind in kinds or ("rsa" in kind and "ssh-rsa" in kinds)
        ]
        if known:
            options.key_types = tuple(known)

    def _event(
        self, ssh: paramiko.Transport, start: Callable[[threading.Event], object], left: float, phase: str
    ) -> None:
        done = threading.Event()
        deadline = time.monotonic() + left
        start(done)
        while not done.wait(POLL):
            self.watch.check(phase)
            if time.monotonic() > deadline:
                raise paramiko.SSHException("the server does not answer")
        if not ssh.is_active():
            raise ssh.get_exception() or paramiko.SSHException("the connection was closed")

    def open_channel(self, command: str, budget: float, phase: str) -> paramiko.Channel:
        """A channel on which ``command`` runs in the root's shell.

        dropbear 2022.83 closes a channel that has no command yet when the command of another channel ends
        just then. Nothing has run on it: while the connection stands, the next channel is tried.
        """

        def open_and_run() -> paramiko.Channel:
            left = _CHANNEL_TRIES
            while True:
                left -= 1
                if self._ssh is None:
                    raise paramiko.SSHException("not connected")
                try:
                    channel = self._ssh.open_session(timeout=budget)
                    channel.exec_command(command)
                    return channel
                except paramiko.SSHException:
                    if not left or not self._ssh.is_active():
                        raise

        return self.waiting(open_and_run, budget, phase)

    def tunnel(self, host: str, port: int, budget: float) -> paramiko.Channel:
        """A TCP connection that the root makes for us. Raises TRANSPORT_ERRORS, GuestDied."""

        def connect() -> paramiko.Channel | BaseException:
            if self._ssh is None:
                return paramiko.SSHException("not connected")
            try:
                return self._ssh.open_channel("direct-tcpip", (host, port), ("127.0.0.1", 0), timeout=budget)
            except TRANSPORT_ERRORS as e:
                return e  # the root is well, only what is behind it does not answer

        found = self.waiting(connect, budget + _RETRY + POLL, f"connecting to {host} through the root")
        if isinstance(found, BaseException):
            raise found
        return found

    def waiting(self, call: Callable[[], T], budget: float, phase: str) -> T:
        """Result of ``call``, run in a thread while this one looks at the watch.

        Transport errors and an overrun of ``budget`` seconds become GuestDied.
        """
        results: list[T] = []
        errors: list[BaseException] = []
        done = threading.Event()

        def run() -> None:
            try:
                results.append(call())
            except BaseException as e:
                errors.append(e)
            done.set()

        threading.Thread(target=run, daemon=True, name="hvlab-ssh").start()
        deadline = time.monotonic() + budget
        while not done.wait(POLL):
            self.watch.check(phase)
            if time.monotonic() > deadline:
                raise self.hang(phase, budget)
        if errors:
            if isinstance(errors[0], TRANSPORT_ERRORS):
                raise self.broken(phase, errors[0])
            raise errors[0]
        return results[0]

    def broken(self, phase: str, error: BaseException | None) -> GuestDied:
        """The connection is gone: raise what the watch knows, else return an error to raise."""
        deadline = time.monotonic() + _SETTLE_SECONDS
        while time.monotonic() < deadline:
            self.watch.check(phase)
            time.sleep(_RETRY)
        died = GuestDied(
            f"the SSH connection broke: {_text(error)}", kind="ssh", phase=phase, where=self.where
        )
        died.__cause__ = error
        return died

    def hang(self, phase: str, budget: float, what: str = "") -> GuestDied:
        """An error to raise when an answer has not come within ``budget`` seconds, or ``what`` says why none
        will come."""
        return GuestDied(
            what or f"no answer within {budget:g} s",
            kind="driver-hang",
            phase=phase,
            where=self.where,
            hint="stacks of the tasks (Root.stacks) show where it is stuck",
        )

    def release(self, channel: paramiko.Channel, patience: float) -> None:
        """Be done with a channel whose command has ended, or ends within ``patience`` seconds.

        A channel whose command goes on is set aside until the connection ends: dropbear 2022.83 drops
        the whole connection when it is asked to close a channel that still has output ("Failed
        assertion (common-channel.c:705): `!channel->sent_close'").
        """
        deadline = time.monotonic() + patience
        while not channel.closed:
            if time.monotonic() >= deadline:
                self._aside.append(channel)
                return
            time.sleep(_CLOSE_POLL)

    def connected(self) -> bool:
        """Whether the connection stands."""
        return self._ssh is not None and self._ssh.is_active()

    def close(self) -> None:
        """Close the connection; sessions on it end, and their commands get a hangup."""
        if self._ssh is not None:
            self._ssh.close()
            self._ssh = None
            self._aside.clear()


def _private_key(path: Path) -> paramiko.PKey:
    """Any kind of private key. BadInput when there is none, or it wants a passphrase."""
    try:
        return paramiko.PKey.from_path(path)
    except (OSError, ValueError, paramiko.SSHException, TypeError) as e:
        raise BadInput(
            f"no usable private key: {e}", where=str(path), hint="give a key file without a passphrase"
        ) from e


def _text(error: BaseException | None) -> str:
    return (str(error) or type(error).__name__) if error else "no attempt made"
