# SPDX-License-Identifier: GPL-2.0-or-later
"""The Python layout equals the C header, by compiling a program that prints the latter."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from lab.hypervisor import abi, layout, names
from lab.model.errors import BadInput
from lab.model.ledger import RecordFlag, RecordKind
from lab.paths import images_dir

SOURCE = images_dir() / "hypervisor"
GCC = shutil.which("gcc")
needs_gcc = pytest.mark.skipif(GCC is None, reason="no gcc")

PROGRAM = """
#include <stdio.h>
#include "host.h"
int main(void)
{
    printf("{");
%s
    printf("\\"end\\": 0}");
    return 0;
}
"""


@pytest.fixture(scope="module")
def c_values(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """C expressions by name, evaluated by the compiler."""
    wanted = {f"block.{name}": f"OFFSET(struct host_block, {name})" for name in layout.BLOCK}
    wanted |= {
        "block": "sizeof(struct host_block)",
        "record": "sizeof(struct host_record)",
        "partition": "sizeof(struct host_partition)",
        "fault": "sizeof(struct host_fault)",
        "hold": "sizeof(struct host_hold)",
        "call.active": "OFFSET(struct host_fault, call.active)",
        "hold.active": "OFFSET(struct host_hold, call.active)",
        "hold.release": "OFFSET(struct host_hold, release)",
        "hold.state": "OFFSET(struct host_hold, state)",
        "fault.skip": "OFFSET(struct host_fault, skip)",
        "fault.count": "OFFSET(struct host_fault, count)",
        "fault.hits": "OFFSET(struct host_fault, hits)",
    }
    constants = [
        *("HOST_MAGIC", "HOST_VERSION", "HOST_PARTITIONS", "HOST_FAULTS", "HOST_HOLDS"),
        *("HOST_TEXT", "HOST_LPS"),
        *("RECORD_WORDS", "RECORD_FRAMES", "FAULT_COMPLETE_NONE", "HOST_ANY_PARTITION"),
        "HOLD_LONGEST",
        *(f"FLAG_{flag.name}" for flag in RecordFlag),
        *(f"KIND_{kind.name}" for kind in RecordKind),
        *(f"STATE_{state.name}" for state in layout.State),
        *(f"HOLD_{state.name}" for state in layout.HoldState),
    ]
    wanted |= {name: name for name in constants}
    wanted |= {f"EV_{event.name}": f"EV_{event.name}" for event in names.Event}
    lines = [f'printf("\\"%s\\": %lu, ", "{k}", (unsigned long)({v}));' for k, v in wanted.items()]
    work = tmp_path_factory.mktemp("layout")
    (work / "print.c").write_text(PROGRAM % "\n".join(lines))
    assert GCC
    command = [GCC, "-I", str(SOURCE), "-o", str(work / "print"), str(work / "print.c")]
    subprocess.run(command, check=True, timeout=30)
    out = subprocess.run([str(work / "print")], check=True, capture_output=True, timeout=10).stdout
    return {k: int(v) for k, v in json.loads(out).items()}


@needs_gcc
def test_every_offset_of_the_block_is_that_of_the_c_struct(c_values: dict[str, int]) -> None:
    assert {name: c_values[f"block.{name}"] for name in layout.BLOCK} == layout.BLOCK


@needs_gcc
def test_sizes_are_those_of_the_c_structs(c_values: dict[str, int]) -> None:
    assert c_values["block"] == layout.BLOCK_SIZE
    assert layout.RECORD.size == c_values["record"]
    assert layout.PARTITION.size == c_values["partition"]
    assert layout.FAULT.size == c_values["fault"]
    assert layout.HOLD.size == c_values["hold"]


@needs_gcc
def test_fault_fields_written_alone_are_where_c_reads_them(c_values: dict[str, int]) -> None:
    fields = (layout.FAULT_SKIP, layout.FAULT_COUNT, layout.FAULT_HITS)
    assert fields == tuple(c_values[f"fault.{n}"] for n in ("skip", "count", "hits"))
    assert layout.CALL_ACTIVE == c_values["call.active"] == c_values["hold.active"]


@needs_gcc
def test_hold_fields_read_or_written_alone_are_where_c_has_them(c_values: dict[str, int]) -> None:
    fields = (layout.HOLD_RELEASE, layout.HOLD_STATE)
    assert fields == tuple(c_values[f"hold.{n}"] for n in ("release", "state"))


@needs_gcc
def test_constants_are_those_of_the_c_header(c_values: dict[str, int]) -> None:
    assert (c_values["HOST_MAGIC"], c_values["HOST_VERSION"]) == (layout.MAGIC, layout.VERSION)
    assert tuple(
        c_values[n] for n in ("HOST_PARTITIONS", "HOST_FAULTS", "HOST_HOLDS", "HOST_TEXT", "HOST_LPS")
    ) == (layout.PARTITIONS, layout.FAULTS, layout.HOLDS, layout.TEXT_SIZE, layout.LPS)
    assert c_values["RECORD_WORDS"] == layout.RECORD_WORDS
    assert c_values["RECORD_FRAMES"] == layout.RECORD_FRAMES
    assert c_values["FAULT_COMPLETE_NONE"] == layout.FAULT_COMPLETE_NONE
    assert c_values["HOST_ANY_PARTITION"] == layout.ANY_PARTITION
    assert c_values["HOLD_LONGEST"] == layout.HOLD_LONGEST
    for hold in layout.HoldState:
        assert hold == c_values[f"HOLD_{hold.name}"]
    for state in layout.State:
        assert state == c_values[f"STATE_{state.name}"]
    for kind in RecordKind:
        assert kind == c_values[f"KIND_{kind.name}"]
    for flag in RecordFlag:
        assert flag == c_values[f"FLAG_{flag.name}"]
    for event in names.Event:
        assert event == c_values[f"EV_{event.name}"]


def _defines(prefix: str) -> dict[str, int]:
    pattern = re.compile(rf"^#define {prefix}(\w+) (0x[0-9a-f]+)u?$", re.MULTILINE)
    return {m[1]: int(m[2], 16) for m in pattern.finditer((SOURCE / "abi.h").read_text())}


def test_every_hypercall_of_the_stand_in_has_its_name() -> None:
    short = {"GET_LP_RUN_TIME": "GET_LOGICAL_PROCESSOR_RUN_TIME"}
    for name, code in _defines("HC_").items():
        assert names.HYPERCALLS[code] == short.get(name, name)


def test_every_status_and_message_of_the_stand_in_has_its_name() -> None:
    assert set(_defines("ST_").values()) <= set(names.STATUSES)
    assert names.STATUSES[_defines("ST_")["INSUFFICIENT_MEMORY"]] == "INSUFFICIENT_MEMORY"
    assert set(_defines("MSG_").values()) <= set(names.MESSAGES)


@needs_gcc
def test_abi_check_reports_what_a_kernel_names_differently(tmp_path: Path) -> None:
    headers = tmp_path / "include" / "hyperv"
    headers.mkdir(parents=True)
    (headers / "hvhdk.h").write_text(
        "#include <linux/types.h>\n#include <linux/bits.h>\n#define HVCALL_MAP_GPA_PAGES 0x4a\n"
        "#define HVCALL_UNMAP_GPA_PAGES 0x4c\n"
    )
    problems = abi.check_abi(tmp_path)
    assert "HC_MAP_GPA_PAGES is not HVCALL_MAP_GPA_PAGES" in problems
    assert not any("UNMAP_GPA_PAGES" in p for p in problems)
    assert any("HVCALL_CREATE_PARTITION" in p and "undeclared" in p for p in problems)


def test_abi_check_refuses_a_folder_that_is_no_kernel(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="hvhdk"):
        abi.check_abi(tmp_path)
