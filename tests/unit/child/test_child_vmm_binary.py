# SPDX-License-Identifier: GPL-2.0-or-later
"""The real mshv-vmm on the host: everything that needs no /dev/mshv."""

from __future__ import annotations

import os
import shutil
import signal
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.build.vmm import build_vmm
from lab.cache import Cache
from lab.paths import images_dir

pytestmark = pytest.mark.skipif(
    shutil.which("gcc") is None or shutil.which("make") is None, reason="no compiler"
)


@pytest.fixture(scope="module")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_vmm(Cache(tmp_path_factory.mktemp("cache")))


class Talk:
    def __init__(self, command: list[str]) -> None:
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def __call__(self, line: str) -> str:
        self.send(line)
        return self.receive()

    def send(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def receive(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def end(self) -> int:
        self.process.kill()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()
        return self.process.wait(timeout=10)


@pytest.fixture
def talk(binary: Path) -> Iterator[Talk]:
    vmm = Talk([str(binary)])
    yield vmm
    vmm.end()


def test_binary_is_static_and_small(binary: Path) -> None:
    assert subprocess.run(["ldd", str(binary)], capture_output=True).returncode != 0
    assert binary.stat().st_size < 1_500_000


def test_second_build_comes_from_the_cache_and_bytes_do_not_depend_on_the_place(
    binary: Path, tmp_path: Path
) -> None:
    again = build_vmm(Cache(tmp_path))
    assert again != binary
    assert again.read_bytes() == binary.read_bytes()
    stamp = again.stat().st_mtime_ns
    assert build_vmm(Cache(tmp_path)).stat().st_mtime_ns == stamp


def test_payload_starts_with_its_header_at_the_linked_address(binary: Path) -> None:
    image = binary.read_bytes()
    at = image.index(b"PAYLOAD1")
    _magic, entry = struct.unpack_from("<QQ", image, at)
    layout = (images_dir() / "payload" / "layout.h").read_text()
    code = next(int(line.split()[2], 16) for line in layout.splitlines() if "define LAYOUT_CODE\t" in line)
    assert code < entry < code + 0x100


def test_hello_names_the_protocol_and_the_process(talk: Talk) -> None:
    words = talk("1 hello").split()
    assert words[:3] == ["1", "ok", "version=1"]
    assert f"pid={talk.process.pid}" in words
    assert "vps=0" in words


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        ("t frob", "t err frob ENOSYS"),
        ("t", "t err - EINVAL no verb"),
        ("t hello there", "t err hello EINVAL too many words"),
        ("t access 0 r4:1000", "t err access ENOENT there is no partition"),
        ("t region add 1 1 0 0 rw", "t err region ENOENT there is no partition"),
        ("t create x 256", "t err create EINVAL number of VPs is not a number: x"),
        ("t create -1 256", "t err create EINVAL number of VPs is not a number"),
        ("t create 17 4096", "t err create EINVAL 1 to 16 VPs"),
        ("t create 2 8", "t err create EINVAL 2 VPs need 42 to"),
        ("t map tape 0 1 rw", "t err map EINVAL unknown kind of mapping tape"),
        ("t map anon 0 0 rw", "t err map EINVAL pages 0+0 lie outside"),
        ("t map file /nonexistent 0 1 rw", "t err map ENOENT open /nonexistent"),
        ("t map vfio ../../etc 0 0 1 rw", "t err map EINVAL not a PCI address"),
        ("t munmap 0", "t err munmap ENOENT no map 0"),
        ("t destroy tidy", "t err destroy ENOENT"),
        ("t budget 0", "t err budget EINVAL"),
        ("t peek 0 1", "t err peek ENOENT"),
        ("t refused ENOENT munmap 0", "t ok"),
        ("t refused EINVAL access 0 r4:1000 r4:2000", "t err refused ENOENT there is no partition"),
        ("t refused ENOENT access 0 r4:1000 r4:2000", "t ok"),
        ("t refused ENOENT hello", "t err refused EEXIST hello was not refused"),
        ("t request partition 1 00", "t err request ENOENT there is no partition"),
        ("t show 0 0 8", "t err show ENOENT there is no partition"),
    ],
)
def test_bad_request_is_answered_in_one_line_and_the_vmm_goes_on(talk: Talk, line: str, reply: str) -> None:
    assert talk(line).startswith(reply)
    assert talk("u hello").startswith("u ok")


def test_several_lines_in_flight_are_answered_in_order(talk: Talk) -> None:
    for i in range(500):
        talk.send(f"{i} hello")
    assert [talk.receive().split()[0] for _ in range(500)] == [str(i) for i in range(500)]


def test_blank_lines_are_no_requests(talk: Talk) -> None:
    talk.send("")
    assert talk("1 hello").startswith("1 ok")


@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_host_access_reaches_the_file_with_its_width(talk: Talk, tmp_path: Path, width: int) -> None:
    file = tmp_path / "bar"
    file.write_bytes(bytes(8192))
    assert talk(f"1 map file {file} 1 1 rw").split()[:4] == ["1", "ok", "0", "1"]
    value = 0x8877665544332211 & ((1 << 8 * width) - 1)
    assert talk(f"2 host write 0 16 {width} {value:#x}") == "2 ok"
    assert talk(f"3 host read 0 16 {width}") == f"3 ok {value:#x}"
    data = file.read_bytes()
    assert data[4096 + 16 : 4096 + 24] == value.to_bytes(8, "little")
    assert data.count(0) == 8192 - width


def test_map_ends_where_the_file_ends(talk: Talk, tmp_path: Path) -> None:
    file = tmp_path / "bar"
    file.write_bytes(bytes(8192))
    assert "lie outside of the file mapping of 2 pages" in talk(f"1 map file {file} 1 2 rw")
    assert talk(f"2 map file {file} 1 0 ro").split()[2:4] == ["0", "1"]


def test_fault_of_a_host_access_is_an_error_not_the_end(talk: Talk, tmp_path: Path) -> None:
    file = tmp_path / "bar"
    file.write_bytes(bytes(4096))
    assert talk(f"1 map file {file} 0 1 ro").startswith("1 ok")
    os.truncate(file, 0)
    assert talk("2 host read 0 0 4").startswith("2 err host EFAULT")
    assert talk("3 host write 0 0 4 1").startswith("3 err host EFAULT")
    assert talk("4 hello").startswith("4 ok")


def test_map_number_is_free_again_after_munmap(talk: Talk) -> None:
    assert talk("1 map anon 0 4 rw").split()[2] == "0"
    assert talk("2 map anon 0 4 rw").split()[2] == "1"
    assert talk("3 munmap 0") == "3 ok"
    assert talk("4 map anon 0 4 rw").split()[2] == "0"


def test_event_that_was_not_signalled_has_nothing_to_take(talk: Talk) -> None:
    assert talk("1 event new") == "1 ok 0"
    assert talk("2 event take 0").startswith("2 err event EAGAIN")
    assert talk("3 event write 0") == "3 ok"
    assert talk("4 event take 0") == "4 ok 1"
    assert talk("5 event take 0").startswith("5 err event EAGAIN")


def test_end_of_input_ends_the_vmm(talk: Talk) -> None:
    assert talk.process.stdin is not None
    talk.process.stdin.close()
    assert talk.process.wait(timeout=5) == 0


def test_socket_keeps_state_between_clients_and_ends_with_quit(binary: Path, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    assert subprocess.run([str(binary), "--detach", str(path)], timeout=10).returncode == 0
    first = Talk([str(binary), "--connect", str(path)])
    pid = int(first("1 hello").split("pid=")[1].split()[0])
    try:
        assert first("2 map anon 0 4 rw").split()[2] == "0"
        first.end()
        second = Talk([str(binary), "--connect", str(path)])
        assert second("1 map anon 0 4 rw").split()[2] == "1"
        assert second("2 quit") == "2 ok"
        second.end()
        deadline = time.monotonic() + 5
        while path.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not path.exists()
    finally:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def test_connecting_to_nothing_says_so(binary: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [str(binary), "--connect", str(tmp_path / "none")], capture_output=True, text=True, timeout=10
    )
    assert done.returncode == 1
    assert "No such file" in done.stderr


def test_an_event_is_read_as_often_as_it_was_signalled(talk: Talk) -> None:
    assert talk("1 event new") == "1 ok 0"
    assert talk("2 event new") == "2 ok 1"
    assert talk("3 event read 0 0") == "3 ok 0"
    assert talk("4 event write 0") == "4 ok"
    assert talk("5 event write 0") == "5 ok"
    assert talk("6 event read 1 0") == "6 ok 0"
    assert talk("7 event read 0 1000") == "7 ok 2"
    assert talk("8 event close 0") == "8 ok"
    assert talk("9 event read 0 0").startswith("9 err event ENOENT")


def test_events_of_a_partition_need_one(talk: Talk) -> None:
    talk("1 event new")
    assert talk("2 ioeventfd add 0 0x1000 4").startswith("2 err ioeventfd ENOENT")
    assert talk("3 irqfd add 0 1").startswith("3 err irqfd ENOENT")
    assert talk("4 routes 1 0xfee00000 0x41").startswith("4 err routes ENOENT")


def test_mapping_takes_the_place_of_pages_of_another(talk: Talk, tmp_path: Path) -> None:
    (tmp_path / "words").write_bytes(struct.pack("<Q", 7) * 1024)
    assert talk("1 map anon 0 4 rw").startswith("1 ok 0 4 ")
    assert talk(f"2 map file {tmp_path / 'words'} 0 2 rw at 0 1").startswith("2 ok 1 2 ")
    assert [talk(f"3 host read 0 {page * 4096} 8") for page in range(4)] == [
        f"3 ok {value}" for value in ("0", "0x7", "0x7", "0")
    ]
    assert talk("4 fill 1 0 1 0x99") == "4 ok"
    assert talk("5 host read 0 4096 8") == "5 ok 0x99"
    assert "EINVAL" in talk("6 map anon 0 4 rw at 0 1")
    assert "ENOENT" in talk("7 map anon 0 1 rw at 9 0")


def test_protected_pages_fault(talk: Talk) -> None:
    talk("1 map anon 0 3 rw")
    assert talk("2 protect 0 1 1 ro") == "2 ok"
    assert "EFAULT" in talk("3 host write 0 4096 8 1")
    assert talk("4 host write 0 8192 8 1") == "4 ok"
    assert "EINVAL" in talk("5 protect 0 2 2 ro")
    assert "EINVAL" in talk("6 protect 0 0 1 rx")


def test_copy_of_the_process_ends_with_it_or_when_told(talk: Talk) -> None:
    pid = int(talk("1 fork").split()[2])
    os.kill(pid, 0)
    assert talk(f"2 unfork {pid}") == "2 ok"
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert "ESRCH" in talk(f"3 unfork {pid}")


def test_storm_without_a_partition_is_refused(talk: Talk) -> None:
    assert "ENOENT" in talk("1 storm 0 1 r8:0=0")
    assert "ENOENT" in talk("2 calm 0 1")


def test_toggled_pages_can_be_written_again_when_it_has_settled(talk: Talk) -> None:
    talk("1 map anon 0 3 rw")
    assert "ENOENT" in talk("2 toggle off")
    assert talk("3 toggle on 0 1 2") == "3 ok"
    assert "EBUSY" in talk("4 toggle on 0 0 1")
    assert talk("5 host write 0 0 8 1") == "5 ok"
    assert int(talk("6 toggle off").removeprefix("6 ok ")) > 0
    assert talk("7 host write 0 4096 8 1") == "7 ok"
    assert "EINVAL" in talk("8 toggle on 0 2 2")


def test_toggle_of_a_mapping_that_went_says_so(talk: Talk) -> None:
    talk("1 map anon 0 1 rw")
    talk("2 toggle on 0 0 1")
    talk("3 munmap 0")
    assert "ENOMEM" in talk("4 toggle off")
