# SPDX-License-Identifier: GPL-2.0-or-later
"""The front door: parsing, and the one place where errors become messages and exit codes."""

import argparse
import errno
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from lab.build.config import merge
from lab.cli import doctor, labs, look, validate
from lab.cli import main as main_function
from lab.cli.selectors import add_kernel_selectors, selectors_of
from lab.machine import state as machines
from lab.machine.proc import ProcessId
from lab.model.errors import BadInput, GuestDied, LabError, LabUnavailable


@pytest.fixture
def state(monkeypatch, tmp_path):
    monkeypatch.setenv("HVLAB_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("HVLAB_CACHE", str(tmp_path / "cache"))
    return tmp_path


def ends(*argv):
    """Exit code of the command, however it ends."""
    try:
        return main_function(list(argv))
    except SystemExit as e:
        return e.code


VERBS = (
    "validate",
    "compare",
    "up",
    "ssh",
    "console",
    "down",
    "ledger",
    "slat",
    "mmio",
    "machine",
    "surface",
    "doctor",
)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb, capsys):
    assert ends(verb, "--help") == 0
    said = capsys.readouterr().out
    assert "usage: hvlab " + verb in said
    paragraphs = said.split("\n\n")
    assert paragraphs[1].strip().endswith("."), "a sentence on what it does, before the options"


def test_every_template_is_listed_with_what_it_is(capsys):
    assert ends("machine", "list") == 0
    lines = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())
    assert {"mshv-root", "mshv-root-linux-child", "kvm-root", "external", "hyperv"} <= lines.keys()
    assert all(text.endswith(".") for text in lines.values()), lines


def test_no_verb_is_bad_input(capsys):
    assert ends() == 2
    assert "usage" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BadInput("no good", where="--x", hint="do y"), 2),
        (LabUnavailable("no good", where="--x", hint="do y"), 4),
        (LabError("no good", where="--x", hint="do y"), 4),
        (GuestDied("no good", kind="panic", phase="boot", where="--x", hint="do y"), 1),
    ],
)
def test_error_is_one_message_and_its_exit_code(monkeypatch, capsys, error, code):
    def broken(args):
        raise error

    monkeypatch.setattr(doctor, "run", broken)
    assert ends("doctor") == code
    said = capsys.readouterr()
    assert said.err == "hvlab: --x: no good\n  to do: do y\n" and said.out == ""


def test_full_disk_is_said_plainly(monkeypatch, capsys):
    def full(args):
        raise OSError(errno.ENOSPC, "No space left on device", "/there/file")

    monkeypatch.setattr(doctor, "run", full)
    assert ends("doctor") == 4
    assert "/there/file: No space left on device" in capsys.readouterr().err


def test_other_os_errors_are_defects_and_show_themselves(monkeypatch):
    def broken(args):
        raise OSError(errno.EIO, "defect")

    monkeypatch.setattr(doctor, "run", broken)
    with pytest.raises(OSError, match="defect"):
        main_function(["doctor"])


def test_reader_that_leaves_is_no_error():
    """``hvlab machine list | head -0``: nothing on stderr."""
    text = "import sys; sys.stdin.read(); from lab.cli import main; sys.exit(main(['machine', 'list']))"
    pipe = subprocess.PIPE
    env = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    argv = [sys.executable, "-c", text]
    with subprocess.Popen(argv, env=env, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdin and process.stdout and process.stderr
        process.stdout.close()
        process.stdin.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 0


@pytest.mark.parametrize(
    ("argv", "where", "after"),
    [
        (("ssh",), "root", []),
        (("ssh", "root"), "root", []),
        (("ssh", "--", "uname", "-r"), "root", ["uname", "-r"]),
        (("ssh", "--name", "a", "root", "--", "sh", "-c", "x -- y"), "root", ["sh", "-c", "x -- y"]),
        (("ssh", "--", "ls", "--", "-x"), "root", ["ls", "--", "-x"]),
    ],
)
def test_command_for_ssh_is_taken_as_it_is(monkeypatch, argv, where, after):
    seen = []
    monkeypatch.setattr(labs, "run_ssh", lambda args: seen.append((args.where, args.after)) or 0)
    assert ends(*argv) == 0
    assert seen == [(where, after)]


def test_only_ssh_takes_a_command(capsys):
    assert ends("doctor", "--", "uname") == 2
    assert "'uname'" in capsys.readouterr().err


def test_ssh_into_a_payload_points_to_mmio(state, capsys):
    machines.create("w", machine="mshv-root")
    assert ends("ssh", "--name", "w", "child", "--", "ls") == 2
    assert "hvlab mmio" in capsys.readouterr().err


def test_verbs_without_a_lab(state, capsys):
    for argv in (("ssh",), ("console",), ("ledger",), ("slat",), ("mmio", "read", "0"), ("down",)):
        assert ends(*argv) == 2, argv
        assert "no lab is up" in capsys.readouterr().err
    assert ends("down", "--all") == 0


@pytest.mark.parametrize("fixes", ["X", "16", "C16,D2", "C"])
def test_claims_that_are_none(state, capsys, fixes):
    assert ends("validate", "--fixes", fixes) == 2
    assert "--fixes" in capsys.readouterr().err


@pytest.fixture
def asked(monkeypatch, state):
    """What ``validate`` would do, without doing it."""
    found = []

    def stop(request, progress):
        found.append(request)
        raise LabUnavailable("enough")

    monkeypatch.setattr(validate, "validate", stop)
    monkeypatch.setattr(
        validate, "find_qemu", lambda path: SimpleNamespace(version=(7, 2, 0), path=path, text="")
    )
    return found


def test_validate_passes_on_what_it_was_given(asked, tmp_path):
    argv = ["validate", "s.mbox", "--base", "debian:7.3", "--fixes", "C16, C17", "-k", "a or b", "--quick"]
    argv += ["--param", "cpus=3", "--out", str(tmp_path / "o"), "--keep", "mine", "-j", "2", "--no-sandbox"]
    assert ends(*argv) == 4
    (request,) = asked
    assert (request.selectors.series, request.selectors.base, request.selectors.jobs) == (
        "s.mbox",
        "debian:7.3",
        2,
    )
    assert not request.selectors.sandboxed and not request.embedded
    assert request.fixes == ("C16", "C17") and request.flavours == ("plain",)
    assert request.params == ("cpus=3",) and request.quick and request.expression == "a or b"
    assert request.keep == "mine" and request.out == tmp_path / "o"


def test_validate_alone_takes_the_embedded_series(asked):
    assert ends("validate") == 4
    assert asked[0].embedded and asked[0].selectors.series.endswith("mmio-on-demand")


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (("--machine", "nonsense"), "nonsense"),
        (("--param", "cpus"), "K=V"),
        (("--param", "cpu=2"), "did you mean 'cpus'"),
        (("-k", "a b ("), "expression"),
        (("--base", "debian", "--tree", "x"), "not allowed"),
    ],
)
def test_validate_refuses_before_any_work(asked, capsys, argv, says):
    assert ends("validate", *argv) == 2
    assert says in capsys.readouterr().err
    assert asked == []


def test_parked_threads_need_a_new_qemu(asked, capsys):
    assert ends("validate", "--param", "tcg_thread=parked") == 2
    assert "QEMU 10" in capsys.readouterr().err


def test_numbers_of_mmio(monkeypatch, capsys):
    seen = []
    monkeypatch.setattr(
        look, "run_mmio", lambda args: seen.append((args.action, args.offset, args.width)) or 0
    )
    assert ends("mmio", "read", "0x10") == 0
    assert ends("mmio", "write", "16", "0x5", "--width", "4") == 0
    assert seen == [("read", 16, 8), ("write", 16, 4)]
    assert ends("mmio", "read", "ten") == 2
    assert "not a number: 'ten'" in capsys.readouterr().err


def test_doctor_lists_what_a_dead_owner_left_and_removes_it(state, capsys, monkeypatch):
    for check in ("_qemu", "_sandbox", "_space", "_shm", "_kvm"):
        monkeypatch.setattr(doctor, check, lambda: {"name": "x", "ok": True, "text": "fine"})
    from lab.machine import state as labs_on_disk

    lab = labs_on_disk.create("dead")
    lab.update(owner=ProcessId(lab.record.owner.pid, lab.record.owner.start + 1))  # a process that is no more
    lab.unlock()
    assert ends("doctor") == 4
    assert "left lab dead" in capsys.readouterr().out
    assert ends("doctor", "--clean") == 0
    assert "gone lab dead" in capsys.readouterr().out
    assert not lab.path.exists()


def test_doctor_fails_with_a_machine_that_is_not_fit(state, capsys, monkeypatch):
    monkeypatch.setattr(doctor, "_sandbox", lambda: {"name": "sandbox", "ok": False, "text": "none"})
    assert ends("doctor") == 4
    assert "BAD  sandbox: none" in capsys.readouterr().out


def test_settings_of_the_users_own_come_on_top_of_every_flavours_own(tmp_path):
    fragment = tmp_path / "mine.config"
    fragment.write_text("# CONFIG_DETECT_HUNG_TASK is not set\n")
    parser = argparse.ArgumentParser()
    add_kernel_selectors(parser)
    selectors = selectors_of(parser.parse_args(["--flavour", "debug", "--config", str(fragment)]))
    flavour = selectors.kernel_flavour()
    assert flavour.name == "debug", "a pass needs the detectors of the flavour, whatever was taken away"
    assert merge(flavour.fragments)["DETECT_HUNG_TASK"] == "n"
    assert merge(selectors_of(parser.parse_args([])).kernel_flavour().fragments)["DETECT_HUNG_TASK"] == "y"
    with pytest.raises(BadInput, match="boots what is there"):
        selectors_of(parser.parse_args(["--kernel", "bzImage", "--config", str(fragment)]))


def test_settings_that_are_not_there_are_bad_input(state, capsys):
    assert ends("validate", "--config", str(state / "none.config")) == 2
    assert "none.config: no such file" in capsys.readouterr().err
