# SPDX-License-Identifier: GPL-2.0-or-later
"""A root that is this host, behind an SSH server of our own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from ssh_server import Server

from lab.root.keys import RunKeys, make_keys
from lab.root.root import Root
from lab.root.transport import NoWatch


@pytest.fixture(scope="module")
def keys() -> RunKeys:
    return make_keys()


@pytest.fixture(scope="module")
def key_path(keys: RunKeys, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return keys.save(tmp_path_factory.mktemp("own"))


@pytest.fixture
def server(keys: RunKeys, tmp_path: Path) -> Iterator[Server]:
    made = Server(keys, make_keys().save(tmp_path))
    yield made
    made.stop()


@pytest.fixture
def root(server: Server, key_path: Path) -> Iterator[Root]:
    with Root("127.0.0.1", server.port, key_path, NoWatch()) as made:
        made.connect(5)
        yield made
