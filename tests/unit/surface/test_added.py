# SPDX-License-Identifier: GPL-2.0-or-later
"""What a series adds, told from the files before and after."""

from __future__ import annotations

from lab.model.surface import Addition, State
from lab.surface import listing
from lab.surface.added import additions, relevant, summary

HEADER = "include/hyperv/hvgdk_mini.h"
SURFACE = listing.parse("""
[hypercall]
HVCALL_GOOD = { number = 0x10, state = "implemented" }
HVCALL_BAD = { number = 0x11, state = "refused", answer = "ACCESS_DENIED", why = "not for a root" }
HVCALL_DULL = { number = 0x12, state = "ignored", why = "nothing listens" }
[msr]
HV_X64_MSR_SINT0 = { number = 0x40000090, count = 16, state = "implemented" }
HV_X64_MSR_RESET = { number = 0x40000003, state = "refused", answer = "#GP", why = "not announced" }
[message]
HVMSG_PAIR = { number = 0x80000101, state = "refused", answer = "never sent", why = "the bitset says it" }
""")
NUMBERS = """
#define HVCALL_GOOD 0x10
#define HVCALL_BAD 0x11
#define HVCALL_DULL 0x12
#define HV_X64_MSR_RESET 0x40000003
enum hv_message_type { HVMSG_PAIR = 0x80000101 };
"""


def diff(before: dict[str, str], after: dict[str, str]) -> tuple[Addition, ...]:
    old, new = {HEADER: NUMBERS, **before}, {HEADER: NUMBERS, **after}
    touched = [f for f in {**old, **new} if old.get(f) != new.get(f)]
    return additions(old.get, new.get, touched, [HEADER], SURFACE)


def call(what: str, function: str = "f") -> str:
    return f"void {function}(void) {{ hv_do_hypercall({what}, in, out); }}\n"


def test_each_state_has_its_sentence() -> None:
    found = diff(
        {"a.c": ""}, {"a.c": "".join(call(f"HVCALL_{n}") for n in ("GOOD", "BAD", "DULL")) + call("0xabc")}
    )
    assert [(a.name, a.number, a.state) for a in found] == [
        ("HVCALL_BAD", 0x11, State.REFUSED),
        ("HVCALL_DULL", 0x12, State.IGNORED),
        ("", 0xABC, State.UNKNOWN),
        ("HVCALL_GOOD", 0x10, State.IMPLEMENTED),
    ]
    texts = [a.text for a in found]
    doubt = ": scenarios that reach it are inconclusive"
    assert texts == [
        "the series issues HVCALL_BAD (0x0011) in a.c:f, which the stand-in refuses with ACCESS_DENIED "
        f"(not for a root){doubt}",
        f"the series issues HVCALL_DULL (0x0012) in a.c:f, which the stand-in accepts without effect "
        f"(nothing listens){doubt}",
        f"the series issues hypercall 0x0abc in a.c:f, which the stand-in does not implement{doubt}",
        "the series issues HVCALL_GOOD (0x0010) in a.c:f, which the stand-in implements",
    ]
    assert summary(found) == "new uses that the stand-in implements: 1 hypercalls (HVCALL_GOOD)"


def test_call_that_was_there_or_moved_is_not_added() -> None:
    assert diff({"a.c": call("HVCALL_BAD")}, {"a.c": "/* new words */\n" + call("HVCALL_BAD")}) == ()
    assert diff({"a.c": call("HVCALL_BAD"), "b.c": ""}, {"a.c": "", "b.c": call("HVCALL_BAD")}) == ()


def test_known_call_at_a_new_place_is_added() -> None:
    (one,) = diff({"a.c": call("HVCALL_BAD")}, {"a.c": call("HVCALL_BAD") + call("HVCALL_BAD", "g")})
    assert one.sites == ("a.c:g",)


def test_name_that_the_series_defines_has_its_number() -> None:
    after = {HEADER: NUMBERS + "#define HVCALL_NEW 0x0777\n", "a.c": call("HVCALL_NEW")}
    (one,) = diff({"a.c": ""}, after)
    assert (one.name, one.number, one.state) == ("HVCALL_NEW", 0x777, State.UNKNOWN)
    (other,) = diff({"a.c": ""}, {"a.c": call("HVCALL_NOWHERE")})
    assert (other.name, other.number, other.state) == ("HVCALL_NOWHERE", None, State.UNKNOWN)
    assert "without a known number" in other.text


def test_msrs_and_messages_have_words_of_their_own() -> None:
    after = "void f(void) { wrmsrq(HV_X64_MSR_RESET, 1); rdmsrq(0x40000095, x); if (m == HVMSG_PAIR) g(); }"
    found = {a.number: a for a in diff({"a.c": ""}, {"a.c": after})}
    assert found[0x40000095].state is State.IMPLEMENTED
    assert "answers with #GP (not announced): scenarios" in found[0x40000003].text
    assert "handles HVMSG_PAIR" in found[0x80000101].text
    assert "never sends" in found[0x80000101].text and "inconclusive" not in found[0x80000101].text


def test_code_that_is_no_constant_is_told_once() -> None:
    passing = "int pass(struct a *p) { return hv_do_hypercall(p->code, 0, 0); }\n"
    (one,) = diff({"a.c": ""}, {"a.c": passing})
    assert one.number is None and one.state is State.UNKNOWN and "a.c:pass" in one.text
    assert diff({"a.c": passing}, {"a.c": passing + "int x;\n"}) == ()


def test_comments_and_other_architectures_add_nothing() -> None:
    assert diff({"a.c": ""}, {"a.c": "/* hv_do_hypercall(HVCALL_BAD) */"}) == ()
    assert diff({}, {"arch/arm64/hyperv/x.c": call("HVCALL_BAD")}) == ()
    assert diff({}, {"tools/x.c": call("HVCALL_BAD"), "a.S": call("HVCALL_BAD")}) == ()
    assert relevant("arch/x86/hyperv/x.c") and relevant("drivers/hv/x.h")
