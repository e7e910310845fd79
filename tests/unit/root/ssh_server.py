# SPDX-License-Identifier: GPL-2.0-or-later
"""An SSH server in this process that runs commands in the host's shell."""

from __future__ import annotations

import socket
import subprocess
import threading
from pathlib import Path

import paramiko

from lab.root.keys import RunKeys


class Server(paramiko.ServerInterface):
    """Accepts one key; each exec request becomes a process."""

    def __init__(self, keys: RunKeys, host_key: Path) -> None:
        self.allowed = keys.public
        self.host_key = paramiko.Ed25519Key.from_private_key_file(str(host_key))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.transports: list[paramiko.Transport] = []
        self.channels: list[paramiko.Channel] = []
        self.processes: list[subprocess.Popen[bytes]] = []
        self.closes = 0
        """Channels that are closed in place of a command, as dropbear sometimes does."""
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(sock)
            transport.add_server_key(self.host_key)
            self.transports.append(transport)
            try:
                transport.start_server(server=self)
            except (paramiko.SSHException, EOFError):
                pass

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        good = username == "root" and f"{key.get_name()} {key.get_base64()}" == self.allowed
        return paramiko.AUTH_SUCCESSFUL if good else paramiko.AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        if self.closes:
            self.closes -= 1
            channel.close()
            return False
        pipe = subprocess.PIPE
        process = subprocess.Popen(["sh", "-c", command.decode()], stdin=pipe, stdout=pipe, stderr=pipe)
        self.processes.append(process)
        self.channels.append(channel)
        heard = threading.Event()
        threading.Thread(target=self.feed, args=(channel, process, heard), daemon=True).start()
        threading.Thread(target=self.drain, args=(channel, process, heard), daemon=True).start()
        return True

    def feed(
        self, channel: paramiko.Channel, process: subprocess.Popen[bytes], heard: threading.Event
    ) -> None:
        assert process.stdin
        try:
            while data := channel.recv(65536):
                heard.set()
                process.stdin.write(data)
                process.stdin.flush()
            heard.set()
            process.stdin.close()
        except OSError:
            pass

    def drain(
        self, channel: paramiko.Channel, process: subprocess.Popen[bytes], heard: threading.Event
    ) -> None:
        assert process.stdout and process.stderr
        # This thread must not close the channel before paramiko has sent the reply to the request: the
        # client has that when it sends something (or says that it will not).
        heard.wait(0.2)
        errors = threading.Thread(target=self.copy, args=(process.stderr, channel.sendall_stderr))
        errors.start()
        self.copy(process.stdout, channel.sendall)
        errors.join()
        try:
            channel.send_exit_status(process.wait() & 0xFF)
            channel.close()
        except (OSError, EOFError, paramiko.SSHException):
            pass

    def copy(self, source: object, target: object) -> None:
        try:
            while data := source.read1(65536):  # type: ignore[attr-defined]
                target(data)  # type: ignore[operator]
        except OSError:
            pass

    def drop(self) -> None:
        for transport in self.transports:
            transport.close()

    def stop(self) -> None:
        self.listener.close()
        self.drop()
        for process in self.processes:
            process.kill()
            process.wait()
