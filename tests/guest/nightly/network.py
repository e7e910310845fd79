# SPDX-License-Identifier: GPL-2.0-or-later
"""Three hosts with SSH servers on this machine, and a fourth place that reaches them.

Each is a network namespace with an address of 192.0.2.0/24 that exists nowhere else; a host has process and
mount namespaces too, with an SSH server, host key, /run and password file of its own. Ending its first
process ends the host like a power cut. Nothing of the machine's own configuration is used or changed.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from lab.nightly.hosts import Host
from lab.paths import repo_root

START_SECONDS = 20.0
SBIN = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
SSHD = shutil.which("sshd", path=SBIN)


def missing() -> str:
    """Why there can be no such network here; "" when there can."""
    if os.getuid() != 0:
        return "network namespaces need root"
    for tool, package in (("ip", "iproute2"), ("ssh", "openssh-client"), ("sshd", "openssh-server")):
        if shutil.which(tool, path=SBIN) is None:
            return f"{tool} is not installed (Debian: {package})"
    if subprocess.run(["unshare", "--mount", "--pid", "--net", "--fork", "true"], check=False).returncode:
        return "this machine allows no namespaces"
    return ""


def run(*words: str | Path) -> str:
    """Run a tool to its end; its output."""
    done = subprocess.run(
        [str(w) for w in words], capture_output=True, text=True, timeout=30, env={**os.environ, "PATH": SBIN}
    )
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


class SshHost:
    """One host. ``state`` is where its agent works."""

    def __init__(self, network: Network, number: int) -> None:
        self.network, self.number = network, number
        self.namespace = f"{network.name}-{number}"
        self.address = f"192.0.2.{10 + number}"
        self.folder = network.folder / f"host{number}"
        self.state = self.folder / "state"
        self.log = self.folder / "sshd.log"
        self.init: subprocess.Popen[bytes] | None = None

    def host(self) -> Host:
        """As the lab knows it."""
        user = pwd.getpwuid(os.getuid()).pw_name
        root, keys = str(repo_root()), self.network.folder
        return Host(f"{user}@{self.address}", root, keys / "client", keys / "known_hosts")

    def start(self) -> None:
        """Make the SSH server and wait until it listens."""
        self.state.mkdir(parents=True)
        key = self.folder / "host_key"
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
        with (self.network.folder / "known_hosts").open("a") as known:
            known.write(f"{self.address} {key.with_suffix('.pub').read_text()}")
        passwd = Path("/etc/passwd").read_text()
        if "\nsshd:" not in passwd:
            passwd += "sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin\n"
        (self.folder / "passwd").write_text(passwd)
        (self.folder / "config").write_text(
            f"ListenAddress {self.address}\nHostKey {key}\n"
            f"AuthorizedKeysFile {self.network.folder}/client.pub\nStrictModes no\nUsePAM no\nPidFile none\n"
            "PasswordAuthentication no\nPermitRootLogin prohibit-password\n"
            f"SetEnv HVLAB_STATE={self.state}\n"
        )
        serve = f"{SSHD} -D -e -f {self.folder}/config"
        script = (
            "mount -t tmpfs none /run && mkdir /run/sshd && "
            f"mount --bind {self.folder}/passwd /etc/passwd && {{ {serve} & wait; }}"
        )
        namespaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        with self.log.open("wb") as log:
            self.init = subprocess.Popen(
                ["ip", "netns", "exec", self.namespace, *namespaces, "sh", "-c", script],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PATH": SBIN},
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while "listening" not in self.log.read_text():
            assert self.init.poll() is None and time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def processes(self) -> list[int]:
        """All its processes, seen from outside."""
        return [int(pid) for pid in run("ip", "netns", "pids", self.namespace).split()]

    def runs(self, words: str) -> bool:
        """Whether it runs a command with ``words`` in it."""
        for pid in self.processes():
            try:
                if words in Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode():
                    return True
            except OSError:
                pass
        return False

    def power_off(self) -> None:
        """End it at once and wait until nothing of it runs."""
        if self.init is None:
            return
        self.init.send_signal(signal.SIGKILL)  # unshare --kill-child takes the first process along
        self.init.wait(10)
        deadline = time.monotonic() + 10
        while left := self.processes():
            assert time.monotonic() < deadline, f"host {self.number} still runs {left}"
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.05)
        self.init = None

    def unplug(self) -> None:
        """Cut its cable: nobody is told."""
        run("ip", "netns", "exec", self.network.center, "ip", "link", "set", f"p{self.number}", "down")


class Network:
    """The hosts and the place in the middle. A context manager; nothing is left of it after that."""

    def __init__(self, folder: Path, count: int = 3) -> None:
        self.folder = folder
        self.name = f"hvt{secrets.token_hex(3)}"
        self.center = f"{self.name}-c"
        self.hosts = [SshHost(self, n) for n in range(1, count + 1)]
        self._stack = ExitStack()

    def __enter__(self) -> Network:
        try:
            self._make()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def here(self, command: Sequence[str | Path]) -> list[str]:
        """The command that runs ``command`` where the hosts can be reached."""
        return ["ip", "netns", "exec", self.center, *map(str, command)]

    def _make(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.folder / "client")
        self._namespace(self.center)
        inside = ("ip", "-n", self.center)
        run(*inside, "link", "add", "switch", "type", "bridge")
        run(*inside, "address", "add", "192.0.2.1/24", "dev", "switch")
        run(*inside, "link", "set", "switch", "up")
        for host in self.hosts:
            self._namespace(host.namespace)
            port, there = f"p{host.number}", ("ip", "-n", host.namespace)
            peer = ("peer", "name", "eth", "netns", host.namespace)
            run(*inside, "link", "add", port, "type", "veth", *peer)
            run(*inside, "link", "set", port, "master", "switch", "up")
            run(*there, "address", "add", f"{host.address}/24", "dev", "eth")
            run(*there, "link", "set", "eth", "up")
            self._stack.callback(host.power_off)
            host.start()

    def _namespace(self, name: str) -> None:
        run("ip", "netns", "add", name)
        self._stack.callback(run, "ip", "netns", "delete", name)
        run("ip", "-n", name, "link", "set", "lo", "up")
