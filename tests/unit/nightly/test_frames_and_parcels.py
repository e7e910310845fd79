# SPDX-License-Identifier: GPL-2.0-or-later
"""What goes to another host and what comes back."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.model.errors import BadInput
from lab.model.nightly import BaseFound, BaseGuess, Variant, VariantTask
from lab.nightly import parcel, store
from lab.nightly.frames import LIMIT, MAGIC, BadFrame, Kind, Parser, pack
from lab.nightly.outcome import Place

FRAMES = st.lists(st.tuples(st.sampled_from(list(Kind)), st.binary(max_size=40)), max_size=6)


def harmless(noise: bytes) -> bool:
    """Whether the first magic words after it are not its own."""
    return (noise + MAGIC).index(MAGIC) == len(noise)


@given(FRAMES, st.integers(1, 9), st.binary(max_size=20).filter(harmless))
def test_frames_come_out_as_they_went_in_however_they_are_cut(
    frames: list[tuple[Kind, bytes]], size: int, noise: bytes
) -> None:
    stream = noise + MAGIC + b"".join(pack(*f) for f in frames)
    parser, found = Parser(magic=True), []
    for at in range(0, len(stream), size):
        found += parser.feed(stream[at : at + size])
    assert found == frames


def test_what_is_no_frame_is_told() -> None:
    with pytest.raises(BadFrame, match="kind b'x'"):
        list(Parser().feed(b"x\0\0\0\0"))
    with pytest.raises(BadFrame, match="a frame of"):
        list(Parser().feed(b"d" + (LIMIT + 1).to_bytes(4, "big")))
    with pytest.raises(BadFrame, match="no agent answers"):
        list(Parser(magic=True).feed(b"Welcome! " * 10_000))


def task(folder: Path, **fields: str) -> Place:
    record = VariantTask(
        "t/v1/plain", "../s.mbox", BaseGuess(BaseFound.NONE, ""), Variant(), "../r", **fields
    )
    (folder / "tasks").mkdir()
    (folder / "s.mbox").write_bytes(b"series\xff")
    store.save(folder / "tasks" / "t.json", record)
    return Place.of(folder / "tasks" / "t.json")


def test_a_task_arrives_with_its_files_and_paths_inside_the_parcel(tmp_path: Path) -> None:
    (tmp_path / "q.toml").write_text("q")
    place = task(tmp_path, quarantine="../q.toml")
    packed = io.BytesIO()
    parcel.pack_task(place, packed)
    packed.seek(0)
    parcel.unpack(packed, tmp_path / "there")
    came = Place.of(tmp_path / "there" / parcel.RECORD)
    assert (came.file.parent / came.task.series).read_bytes() == b"series\xff"
    assert (came.file.parent / came.task.quarantine).read_text() == "q"
    assert came.task.claims == "" and came.task.variant == place.task.variant
    assert came.folder.parent == tmp_path / "there"


def test_a_task_without_its_series_is_told(tmp_path: Path) -> None:
    place = task(tmp_path)
    (tmp_path / "s.mbox").unlink()
    with pytest.raises(BadInput, match="cannot read its series"):
        parcel.pack_task(place, io.BytesIO())


def test_a_result_comes_whole_without_links(tmp_path: Path) -> None:
    (tmp_path / "r" / "deep").mkdir(parents=True)
    (tmp_path / "r" / "deep" / "x").write_text("x")
    (tmp_path / "r" / "link").symlink_to("/etc/passwd")
    packed = io.BytesIO()
    parcel.pack_folder(tmp_path / "r", packed)
    packed.seek(0)
    parcel.unpack(packed, tmp_path / "back")
    assert [p.relative_to(tmp_path / "back") for p in tmp_path.rglob("back/**/*") if p.is_file()] == [
        Path("deep/x")
    ]


@pytest.mark.parametrize("name", ["/abs", "../up", "a/../../up"])
def test_a_parcel_never_writes_outside(tmp_path: Path, name: str) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.addfile(tarfile.TarInfo(name))
    packed.seek(0)
    with pytest.raises(BadInput, match="leads out of it"):
        parcel.unpack(packed, tmp_path / "in")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_a_parcel_holds_plain_files_only(tmp_path: Path, kind: bytes) -> None:
    packed, info = io.BytesIO(), tarfile.TarInfo("x")
    info.type, info.linkname = kind, "/etc"
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.addfile(info)
    packed.seek(0)
    with pytest.raises(BadInput, match="no plain file"):
        parcel.unpack(packed, tmp_path / "in")


def test_a_damaged_parcel_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is damaged"):
        parcel.unpack(io.BytesIO(b"nonsense" * 100), tmp_path)


def test_a_result_that_fails_half_way_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old")
    (tmp_path / ".incoming-dead").mkdir()
    with pytest.raises(RuntimeError), parcel.incoming(tmp_path) as temp:
        (temp / "old").write_text("new")
        raise RuntimeError
    assert [p.name for p in tmp_path.iterdir()] == ["old"] and (tmp_path / "old").read_text() == "old"
    with parcel.incoming(tmp_path) as temp:
        (temp / "old").mkdir()
        (temp / "old" / "x").touch()
    assert [p.name for p in tmp_path.iterdir()] == ["old"] and (tmp_path / "old" / "x").exists()
