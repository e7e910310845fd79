# SPDX-License-Identifier: GPL-2.0-or-later
"""Keys of one run: the lab's own to log in with, and the root's host key that the lab knows.

Knowing the host key matters on the loopback too: a port that QEMU just gave up may belong to
another lab a moment later, and a test must not drive the wrong machine.
"""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

_TYPE = b"ssh-ed25519"
HOST_KEY_PATH = "etc/dropbear/dropbear_ed25519_host_key"
AUTHORIZED_PATH = "root/.ssh/authorized_keys"


@dataclass(frozen=True, slots=True)
class RunKeys:
    """``private`` in OpenSSH's format for the file that ssh and paramiko read; ``host_private`` in
    dropbear's; ``public`` and ``host_public`` as lines ``ssh-ed25519 BASE64``."""

    private: bytes
    public: str
    host_private: bytes
    host_public: str

    def overlay(self) -> dict[str, tuple[bytes, int]]:
        """What the root needs of it: path to content and mode, for ``overlay_cpio``."""
        return {
            AUTHORIZED_PATH: (self.public.encode() + b"\n", 0o600),
            HOST_KEY_PATH: (self.host_private, 0o600),
        }

    def save(self, directory: Path) -> Path:
        """Write ``id_ed25519`` (mode 0600) and ``known_host`` into ``directory``; the key's path."""
        path = directory / "id_ed25519"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(fd, "wb") as f:
            f.write(self.private)
        (directory / "known_host").write_text(self.host_public + "\n")
        return path


def make_keys() -> RunKeys:
    """New keys for one run."""
    own, host = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    return RunKeys(
        private=own.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()),
        public=_public_line(own),
        host_private=_dropbear(host),
        host_public=_public_line(host),
    )


def make_host_key() -> tuple[bytes, str]:
    """A host key for another machine of the run: in dropbear's form, and its public line."""
    host = Ed25519PrivateKey.generate()
    return _dropbear(host), _public_line(host)


def _public(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def _string(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def _public_line(key: Ed25519PrivateKey) -> str:
    return f"{_TYPE.decode()} {base64.b64encode(_string(_TYPE) + _string(_public(key))).decode()}"


def _dropbear(key: Ed25519PrivateKey) -> bytes:
    """Dropbear's file: the type, then seed and public key as one string."""
    seed = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    return _string(_TYPE) + _string(seed + _public(key))
