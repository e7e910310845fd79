# SPDX-License-Identifier: GPL-2.0-or-later
"""The hosts file: other machines that run variants, reached by SSH.

    known_hosts = "known_hosts"     # for all hosts; relative to this file
    identity = "id_ed25519"         # private key, for all hosts; relative to this file

    [[host]]
    address = "lab@192.0.2.7:22"    # USER@HOST[:PORT]
    checkout = "/srv/hvlab"         # there; made ready once with ci/hvlab
    # python = "/srv/hvlab/.venv/bin/python", identity and known_hosts of its own

Keys of hosts are never accepted silently: they must be in the known-hosts file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from lab.model.errors import BadInput
from lab.nightly.tables import Table, read

CONNECT_SECONDS = 15
ALIVE_SECONDS = 5
"""How often a silent host is asked whether it is still there."""
ALIVE_TRIES = 4
"""How many questions in a row may stay without an answer."""

_ADDRESS = re.compile(r"([A-Za-z0-9_][\w.-]*)@([A-Za-z0-9][\w.-]*|\[[0-9A-Fa-f:.]+\])(?::(\d{1,5}))?")
_KEYS = ("address", "checkout", "python", "identity", "known_hosts")


@dataclass(frozen=True, slots=True)
class Host:
    """A machine with a checkout of the lab that was made ready by ``ci/hvlab``.

    ``address`` is ``USER@HOST[:PORT]``; ``checkout`` and ``python`` are absolute paths there.
    """

    address: str
    checkout: str
    identity: Path
    known_hosts: Path
    python: str = ""

    def __post_init__(self) -> None:
        if not (match := _ADDRESS.fullmatch(self.address)):
            raise ValueError(f"{self.address!r} is not USER@HOST[:PORT]")
        if not 0 < int(match[3] or 22) < 65536:
            raise ValueError(f"{self.address!r} has no port between 1 and 65535")
        for path in (self.checkout, self.python or "/"):
            if not path.startswith("/"):
                raise ValueError(f"{path!r} is not an absolute path")

    def __str__(self) -> str:
        return self.address

    def command(self) -> str:
        """The interpreter there."""
        return self.python or f"{self.checkout.rstrip('/')}/.venv/bin/python"

    def ssh(self, remote: str) -> list[str]:
        """The ssh command that runs ``remote`` there: no question, no agent, no key that is not known."""
        match = _ADDRESS.fullmatch(self.address)
        assert match is not None, "checked when it was made"
        options = {
            "BatchMode": "yes",
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": _quoted(self.known_hosts),
            "GlobalKnownHostsFile": "/dev/null",
            "UpdateHostKeys": "no",
            "IdentityFile": _quoted(self.identity),
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "PreferredAuthentications": "publickey",
            "ConnectTimeout": str(CONNECT_SECONDS),
            "ServerAliveInterval": str(ALIVE_SECONDS),
            "ServerAliveCountMax": str(ALIVE_TRIES),
            "ClearAllForwardings": "yes",
            "ForwardAgent": "no",
            "ControlPath": "none",
            "LogLevel": "ERROR",
        }
        argv = ["ssh", "-F", "none", "-T"]
        for name, value in options.items():
            argv += ["-o", f"{name}={value}"]
        return [*argv, "-p", match[3] or "22", "-l", match[1], "--", match[2].strip("[]"), remote]


def load(path: Path) -> tuple[Host, ...]:
    """The hosts of a hosts file.

    BadInput with file and place for an unknown key, a wrong value, a key or known-hosts file that cannot be
    read, a host named twice, and a file without a host.
    """
    file = read(path, "hosts file")
    file.only(("known_hosts", "identity", "host"))
    hosts = [_host(table, file) for table in file.tables("host")]
    if not hosts:
        raise BadInput("names no host", where=str(path), hint="write a table [[host]] for each")
    for number, host in enumerate(hosts):
        if host.address in (h.address for h in hosts[:number]):
            raise BadInput(f"host {host.address} is there twice", where=str(path))
    return tuple(hosts)


def _host(table: Table, file: Table) -> Host:
    table.only(_KEYS)
    files = []
    for key in ("identity", "known_hosts"):
        owner = table if key in table.data else file
        if key not in owner.data:
            raise BadInput(f"{key} is missing", where=table.where, hint="give it for this host or for all")
        named = owner.file.parent / Path(owner.string(key)).expanduser()
        try:
            named.open("rb").close()
        except OSError as e:
            raise owner.bad(key, f"cannot be read: {named}: {e.strerror}") from e
        files.append(named.absolute())
    python = table.string("python", "")
    try:
        return Host(table.string("address"), table.string("checkout"), files[0], files[1], python)
    except ValueError as e:
        raise BadInput(str(e), where=table.where) from e


def _quoted(path: Path) -> str:
    """For a value of ssh's -o: whole although it may hold blanks, and no %-token."""
    return '"' + str(path).replace("%", "%%") + '"'
