# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading C source: what is a use of a name, and what only looks like one."""

from __future__ import annotations

import pytest

from lab.surface.conditions import truth
from lab.surface.constants import Constants
from lab.surface.derive import Derived, derive
from lab.surface.functions import blocks
from lab.surface.lexer import Kind, number, tokens

HEADER = """
#define HVCALL_ONE			0x0001
#define HVCALL_TWO \\
	0x0002
#define HV_X64_MSR_SINT0 0x40000090
#if defined(CONFIG_X86)
#define HV_MSR_SINT0 (HV_X64_MSR_SINT0)
#define HV_MSR_SYNIC_AVAILABLE BIT(2)
#elif defined(CONFIG_ARM64)
#define HV_MSR_SINT0 (HV_REGISTER_SINT0)
#endif
enum hv_register_name {
	HV_REGISTER_FIRST = 0x00090000,
	HV_REGISTER_SECOND,	/* HV_REGISTER_COMMENT = 5, */
	HV_REGISTER_SUM = HV_REGISTER_FIRST + (1 << 4),
};
"""


def read(code: str, header: str = HEADER) -> Derived:
    files = {"drivers/hv/a.c": code, "include/hyperv/h.h": header}
    return derive(files.get, ["drivers/hv/a.c"], ["include/hyperv/h.h"])


def named(code: str) -> set[tuple[str, str, int | None, str]]:
    return {(u.kind, u.name, u.number, u.function) for u in read(code).uses}


def test_comments_strings_and_dead_branches_are_no_uses() -> None:
    assert not named("""
        int f(void) {
            /* HVCALL_ONE */ // HVCALL_ONE \\
               HVCALL_TWO
            pr_info("HVCALL_ONE %d", 'H');
        #if 0
            hv_do_hypercall(HVCALL_ONE, a, b);
        #elif defined(CONFIG_ARM64)
            hv_do_hypercall(HVCALL_TWO, a, b);
        #endif
        }""")


def test_use_knows_function_kind_and_number() -> None:
    assert named("""
        static int __init setup(struct x *y) { return hv_do_hypercall(HVCALL_ONE, y, NULL); }
        static u16 table[] = { HVCALL_TWO, };
        void __sched msr(int i) { hv_set_msr(HV_MSR_SINT0 + i, 0); if (f & HV_MSR_SYNIC_AVAILABLE) g(); }
        #define ASK(x) hv_get(x, HV_REGISTER_SECOND)
        """) == {
        ("hypercall", "HVCALL_ONE", 1, "setup"),
        ("hypercall", "HVCALL_TWO", 2, "table"),
        ("msr", "HV_MSR_SINT0", 0x40000090, "msr"),
        ("register", "HV_REGISTER_SECOND", 0x90001, "#define ASK"),
    }


@pytest.mark.parametrize(
    "body",
    [
        "hv_do_hypercall(0x0abc, in, NULL);",
        "hv_do_hypercall((u16)0xabc | (n << 17), in, NULL);".replace("| (n << 17)", ""),
        "u64 control = 0xabc; control |= flags; hv_do_hypercall(control, in, NULL);",
        "u64 c; c = 0x10abc; _hv_do_fast_hypercall8(c, 0);",
        "hv_do_rep_hypercall(0xabc, 5, 0, in, out);",
        "hv_do_hypercall(VENDOR_CALL, in, out);",
        "helper(0xabc);",
    ],
)
def test_bare_number_of_a_hypercall_is_found(body: str) -> None:
    code = f"""
        #define VENDOR_CALL 0xabc
        static int helper(u16 code) {{ return hv_do_hypercall(code, 0, 0); }}
        static int twice(void) {{ helper(HVCALL_ONE); }}
        int f(int n) {{ {body} }}"""
    assert 0xABC in read(code).numbers("hypercall")


def test_code_that_is_no_constant_is_named() -> None:
    derived = read(
        "int pass(void *u) { struct a args; g(&args, u); return hv_do_hypercall(args.code, 0, 0); }"
    )
    (use,) = derived.dynamic
    assert use.site == "drivers/hv/a.c:pass"


def test_bare_msrs_and_leaves_are_found() -> None:
    derived = read(
        "void f(void) { rdmsrq(0x400000b0, v); wrmsrl(0x1b, v); x = cpuid_eax(0x40000081); g(0x40000001); }"
    )
    assert [(u.kind, u.number) for u in derived.uses] == [("cpuid", 0x40000081), ("msr", 0x400000B0)]


def test_new_name_without_a_definition_is_still_a_use() -> None:
    assert ("hypercall", "HVCALL_NEW", None, "f") in named(
        "void f(void) { hv_do_hypercall(HVCALL_NEW, 0, 0); }"
    )


def test_constants_follow_names_and_count_on() -> None:
    constants = Constants()
    constants.read("h.h", HEADER)
    names = ("HVCALL_TWO", "HV_MSR_SINT0", "HV_REGISTER_SECOND", "HV_REGISTER_SUM", "HV_REGISTER_COMMENT")
    assert [constants.value(n) for n in names] == [2, 0x40000090, 0x90001, 0x90010, None]
    assert constants.group("HV_REGISTER_SUM") == "hv_register_name"


def test_names_that_lead_in_a_circle_have_no_value() -> None:
    constants = Constants()
    constants.read("h.h", "#define A B\n#define B A\n#define C (1 <<\n")
    assert [constants.value(n) for n in "ABC"] == [None, None, None]


@pytest.mark.parametrize(
    ("expression", "holds"),
    [
        ("0", False),
        ("defined(CONFIG_X86)", True),
        ("!defined(CONFIG_ARM64)", True),
        ("IS_ENABLED(CONFIG_ARM64) || defined CONFIG_X86_64", True),
        ("defined(CONFIG_X86) && defined(CONFIG_SMP)", None),
        ("defined(CONFIG_ARM64) && defined(CONFIG_SMP)", False),
        ("PAGE_SHIFT > 12", None),
        ("(1 && !0)", True),
    ],
)
def test_conditions_as_x86_decides_them(expression: str, holds: bool | None) -> None:
    assert truth(expression) is holds


def test_lexer_keeps_lines_and_survives_broken_source() -> None:
    found = list(tokens('a /* x\n y */ b\n"open\n#define C 1 \\\n 2\n`@ c'))
    assert [(t.text, t.line) for t in found if t.kind is Kind.NAME] == [
        ("a", 1),
        ("b", 2),
        ("open", 3),
        ("c", 6),
    ]
    assert [t.line for t in found if t.kind is Kind.DIRECTIVE] == [4]
    assert [number(x) for x in ("0x10ULL", "010", "7u", "1.5", "0b")] == [16, 8, 7, None, None]


def test_blocks_are_named_by_function_variable_or_type() -> None:
    code = """
        struct s { int a; };
        static const struct s things[2] = { { 1 }, { 2 } };
        static int __attribute__((cold)) one(int a, char *b[]) { if (a) { } }
        enum e { A }; int two(void) { }
        """
    assert [(b.name, b.parameters) for b in blocks("f.c", code)] == [
        ("s", ()),
        ("things", ()),
        ("one", ("a", "b")),
        ("e", ()),
        ("two", ("void",)),
    ]
