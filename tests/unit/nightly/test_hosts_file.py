# SPDX-License-Identifier: GPL-2.0-or-later
"""The hosts file, and the ssh command that comes of it."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from lab.model.errors import BadInput
from lab.nightly.hosts import Host, load

KEYS = 'identity = "id"\nknown_hosts = "known"\n'
ONE = '[[host]]\naddress = "lab@192.0.2.7"\ncheckout = "/srv/hvlab"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("id", "known", "other"):
        (tmp_path / name).touch()
    return tmp_path


def hosts(folder: Path, text: str) -> tuple[Host, ...]:
    (folder / "hosts.toml").write_text(text)
    return load(folder / "hosts.toml")


def test_keys_are_found_beside_the_file_and_may_be_a_hosts_own(folder: Path) -> None:
    second = '[[host]]\naddress = "x@host:2222"\ncheckout = "/c/"\nidentity = "other"\npython = "/p"\n'
    one, two = hosts(folder, KEYS + ONE + second)
    assert one == Host("lab@192.0.2.7", "/srv/hvlab", folder / "id", folder / "known")
    assert one.command() == "/srv/hvlab/.venv/bin/python"
    assert two.identity == folder / "other" and two.command() == "/p"


def test_ssh_takes_no_key_that_is_not_known_and_asks_nothing(tmp_path: Path) -> None:
    host = Host("lab@[2001:db8::1]:2222", "/c", tmp_path / "a b", tmp_path / "100%")
    argv = host.ssh("true")
    assert argv[-3:] == ["--", "2001:db8::1", "true"]
    assert argv[argv.index("-p") + 1] == "2222" and argv[argv.index("-l") + 1] == "lab"
    options = dict(word.split("=", 1) for flag, word in itertools.pairwise(argv) if flag == "-o")
    assert options["StrictHostKeyChecking"] == "yes"
    assert options["UserKnownHostsFile"] == f'"{tmp_path}/100%%"'
    assert options["GlobalKnownHostsFile"] == "/dev/null"
    assert options["IdentityFile"] == f'"{tmp_path}/a b"'
    assert options["BatchMode"] == options["IdentitiesOnly"] == "yes"
    assert argv[1:3] == ["-F", "none"]


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        (KEYS, "", "names no host"),
        (KEYS + ONE + "port = 22\n", ":6", "unknown key 'port'"),
        ("user = 1\n" + KEYS + ONE, ":1", "unknown key 'user'"),
        ('identity = "id"\n' + ONE, ":2", "known_hosts is missing"),
        ('identity = "id"\nknown_hosts = "nope"\n' + ONE, ":2", "cannot be read"),
        (KEYS + ONE.replace("lab@", ""), ":3", "is not USER@HOST"),
        (KEYS + ONE.replace("lab@", "-oProxyCommand=x@"), ":3", "is not USER@HOST"),
        (KEYS + ONE.replace("192", "-192"), ":3", "is not USER@HOST"),
        (KEYS + ONE.replace(".7", ".7:70000"), ":3", "no port between"),
        (KEYS + ONE.replace("/srv", "srv"), ":3", "not an absolute path"),
        (KEYS + ONE.replace("checkout", "python"), ":3", "checkout is missing"),
        (KEYS + ONE + ONE, "", "is there twice"),
    ],
)
def test_a_wrong_file_is_refused_with_its_place(folder: Path, text: str, where: str, what: str) -> None:
    with pytest.raises(BadInput) as caught:
        hosts(folder, text)
    assert what in str(caught.value)
    assert caught.value.where == f"{folder}/hosts.toml{where}"
