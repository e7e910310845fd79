/* SPDX-License-Identifier: GPL-2.0-or-later */
/* VPs: life, registers, suspension, state. */
#include "tiny.h"

#define LAST_VP 15
#define REG_RBX (REG_RAX + 3)
#define REG_RSI (REG_RAX + 6)
#define VALUE(n) (0x1122334455667700ul + (n))
#define COMPACTED_HEADER 512

CASE("one", vp_life, "a VP is created once, found by its index, and deleted once")
{
	u64 id = new_partition(0);
	struct out_dispatch out;
	struct wire_value v;

	EXPECT(get_register(id, 0, REG_RAX, &v), ST_INVALID_VP_INDEX, "registers of no VP");
	EXPECT(dispatch_once(id, 0, 0, &out), ST_INVALID_VP_INDEX, "DISPATCH_VP of no VP");
	EXPECT(create_vp(id, LAST_VP + 1), ST_INVALID_VP_INDEX, "CREATE_VP beyond the last");
	EXPECT(create_vp(id, ~0u), ST_INVALID_VP_INDEX, "CREATE_VP of any index");
	EXPECT(create_vp(id, LAST_VP), ST_OK, "CREATE_VP");
	CHECK(create_vp(id, LAST_VP) != ST_OK, "CREATE_VP succeeded twice");
	EXPECT(get_register(id, 0, REG_RAX, &v), ST_INVALID_VP_INDEX, "registers of another VP");
	EXPECT(delete_vp(id, 0), ST_INVALID_VP_INDEX, "DELETE_VP of no VP");
	EXPECT(delete_vp(id, LAST_VP), ST_OK, "DELETE_VP");
	EXPECT(delete_vp(id, LAST_VP), ST_INVALID_VP_INDEX, "DELETE_VP twice");
	EXPECT(create_vp(id, LAST_VP), ST_OK, "CREATE_VP again");
}

CASE("one", registers, "each register of each VP keeps what was set, and no other changes")
{
	static const u32 name[] = { REG_RAX, REG_RAX + 1, REG_RAX + 2, REG_RAX + 3, REG_RSP, REG_RAX + 5, REG_RAX + 6,
				    REG_RAX + 7, REG_RAX + 8, REG_R15, REG_RIP, REG_CR2, REG_CR3, REG_DR0, REG_DR3,
				    REG_KERNEL_GS_BASE, REG_STAR, REG_LSTAR, REG_CSTAR, REG_SFMASK };
	u64 id = new_partition(0);

	for (u32 vp = 0; vp < 3; vp++)
		EXPECT(create_vp(id, vp), ST_OK, "CREATE_VP");
	for (u32 vp = 0; vp < 3; vp++)
		for (u32 i = 0; i < LENGTH(name); i++)
			EXPECT(set_register(id, vp, name[i], VALUE(32 * vp + i)), ST_OK, "SET_VP_REGISTERS");
	for (u32 vp = 0; vp < 3; vp++)
		for (u32 i = 0; i < LENGTH(name); i++) {
			u64 got = register_of(id, vp, name[i]);
			if (got != VALUE(32 * vp + i))
				FAIL("VP %u register %#x: expected %#lx, got %#lx", vp, name[i], VALUE(32 * vp + i), got);
		}
}

CASE("one", wide_registers, "128-bit registers keep both halves")
{
	u64 id = new_partition(0);
	struct wire_value v;

	EXPECT(create_vp(id, 0), ST_OK, "CREATE_VP");
	for (u32 name = REG_XMM0; name <= REG_XMM15; name++)
		EXPECT(set_register2(id, 0, name, VALUE(name & 15), ~VALUE(name & 15)), ST_OK, "set xmm");
	for (u32 name = REG_XMM0; name <= REG_XMM15; name++) {
		EXPECT(get_register(id, 0, name, &v), ST_OK, "get xmm");
		EXPECT(v.low, VALUE(name & 15), "low half");
		EXPECT(v.high, ~VALUE(name & 15), "high half");
	}
	EXPECT(set_register2(id, 0, REG_ES + 1, 0x12345000, 0xfffful | 0x1234ul << 32 | 0xc09bul << 48), ST_OK, "set cs");
	EXPECT(get_register(id, 0, REG_ES + 1, &v), ST_OK, "get cs");
	EXPECT(v.low, 0x12345000, "base of cs");
	EXPECT(v.high, 0xfffful | 0x1234ul << 32 | 0xc09bul << 48, "limit, selector and attributes of cs");
}

CASE("one", many_registers, "a list of registers is set and read from the start on, up to the bad name")
{
	u64 id = new_partition(0);
	struct in_set_registers *set = call_in();
	struct in_get_registers *get;
	struct wire_value *out = call_out();
	struct result r;

	EXPECT(create_vp(id, 1), ST_OK, "CREATE_VP");
	set = call_in();
	set->partition = id;
	set->vp = 1;
	for (u32 i = 0; i < 4; i++)
		set->element[i] = (struct wire_register){ .name = REG_RAX + i, .value = { VALUE(i), 0 } };
	set->element[3].name = ~0u;
	r = call_reps(HC_SET_VP_REGISTERS, 4, 1);
	EXPECT(r.status, ST_INVALID_PARAMETER, "status with an unknown name");
	EXPECT(r.done, 3, "repetitions done");
	EXPECT(register_of(id, 1, REG_RAX), 0, "register before the start");
	get = call_in();
	get->partition = id;
	get->vp = 1;
	for (u32 i = 0; i < 4; i++)
		get->name[i] = i == 3 ? ~0u : REG_RAX + i;
	memset(out, 0x55, 4 * sizeof *out);
	r = call_reps(HC_GET_VP_REGISTERS, 4, 0);
	EXPECT(r.status, ST_INVALID_PARAMETER, "status with an unknown name");
	EXPECT(r.done, 3, "repetitions done");
	EXPECT(out[1].low, VALUE(1), "second value");
	EXPECT(out[2].low, VALUE(2), "third value");
	EXPECT(out[3].low, 0x5555555555555555, "output behind the bad name");
}

CASE("one", bad_values, "a value that no processor takes is refused")
{
	u64 id = new_partition(0);

	EXPECT(create_vp(id, 0), ST_OK, "CREATE_VP");
	EXPECT(set_register(id, 0, REG_XFEM, 0), ST_INVALID_REGISTER_VALUE, "xcr0 without x87");
	EXPECT(set_register(id, 0, REG_XFEM, ~0ul), ST_INVALID_REGISTER_VALUE, "xcr0 with everything");
	EXPECT(set_register(id, 0, REG_XFEM, XCR0_X87 | XCR0_SSE), ST_OK, "xcr0 with SSE");
	EXPECT(register_of(id, 0, REG_XFEM), XCR0_X87 | XCR0_SSE, "xcr0");
}

CASE("one", suspended, "a VP that is suspended does not run until it is resumed")
{
	struct child c = new_child(0, child_halt);
	struct out_dispatch out;

	EXPECT(set_register(c.id, 0, REG_EXPLICIT_SUSPEND, 1), ST_OK, "suspend");
	EXPECT(dispatch_once(c.id, 0, 0, &out), ST_OK, "DISPATCH_VP");
	EXPECT(out.state, DISPATCH_STATE_BLOCKED, "state");
	EXPECT(out.event, DISPATCH_EVENT_SUSPEND, "event");
	EXPECT(*data_of(&c, 0), 0, "turns of the child");
	EXPECT(set_register(c.id, 0, REG_EXPLICIT_SUSPEND, 0), ST_OK, "resume");
	EXPECT(run_child(&c, 0)->type, MSG_HALT, "message");
	EXPECT(*data_of(&c, 0), 1, "turns of the child");
}

CASE("one", new_is_suspended, "a new VP is suspended")
{
	u64 id = new_partition(0);
	struct out_dispatch out;

	EXPECT(create_vp(id, 0), ST_OK, "CREATE_VP");
	EXPECT(register_of(id, 0, REG_EXPLICIT_SUSPEND), EXPLICITLY_SUSPENDED, "register");
	EXPECT(dispatch_once(id, 0, 0, &out), ST_OK, "DISPATCH_VP");
	EXPECT(out.event, DISPATCH_EVENT_SUSPEND, "event");
}

CASE("one", intercept_suspended, "a VP waits after its message until the root clears it")
{
	struct child c = new_child(0, child_halt);
	struct out_dispatch out;

	run_child(&c, 0);
	EXPECT(dispatch_once(c.id, 0, 0, &out), ST_OK, "DISPATCH_VP");
	EXPECT(out.event, DISPATCH_EVENT_INTERCEPT, "event");
	EXPECT(*data_of(&c, 0), 1, "turns of the child");
	EXPECT(register_of(c.id, 0, REG_INTERCEPT_SUSPEND), 1, "intercept suspend");
	run_child(&c, DISPATCH_CLEAR_INTERCEPT);
	EXPECT(*data_of(&c, 0), 2, "turns of the child");
}

CASE("one", state_pages, "the register page shows the registers and takes the changed ones")
{
	struct child c = new_child(0, child_halt);
	struct in_map_state_page *in = call_in();
	struct out_map_page *out = call_out();
	struct in_unmap_state_page *un;
	struct wire_register_page *page;

	in->partition = c.id;
	in->type = STATE_PAGE_REGISTERS;
	EXPECT(call(HC_MAP_VP_STATE_PAGE), ST_OK, "map the register page");
	page = page_at(out->pfn);
	in->type = 99;
	EXPECT(call(HC_MAP_VP_STATE_PAGE), ST_INVALID_PARAMETER, "map an unknown page");
	EXPECT(set_register(c.id, 0, REG_RAX, VALUE(3)), ST_OK, "set rax");
	run_child(&c, 0);
	EXPECT(page->valid, 1, "register page valid");
	EXPECT(page->gpr[0], VALUE(3), "rax in the page");
	EXPECT(page->rip, register_of(c.id, 0, REG_RIP), "rip in the page");
	page->gpr[REG_RSI - REG_RAX] = DATA_GFN * PAGE + 64;
	page->dirty = CLASS_GENERAL;
	run_child(&c, DISPATCH_CLEAR_INTERCEPT);
	EXPECT(*data_of(&c, 0), 1, "turns counted at the old rsi");
	EXPECT(*data_of(&c, 16), 1, "turns counted at the rsi of the page");
	un = call_in();
	un->partition = c.id;
	un->type = STATE_PAGE_REGISTERS;
	EXPECT(call(HC_UNMAP_VP_STATE_PAGE), ST_OK, "unmap the register page");
}

static struct result vp_state(u16 code, u64 id, u32 type, u64 pfn)
{
	struct in_vp_state *in = call_in();

	in->partition = id;
	in->type = type;
	in->pfn[0] = pfn;
	return call_header(code, pfn ? 1 : 0);
}

CASE("one", xsave_state, "the XSAVE image comes back as it was set, and a bad one harms nobody")
{
	struct child c = new_child(0, child_halt);
	u64 page = page_take();
	u8 *image = page_at(page);

	EXPECT(vp_state(HC_GET_VP_STATE, c.id, VP_STATE_XSAVE, page).status, ST_OK, "GET_VP_STATE");
	image[XSAVE_XMM0] = 0x77;
	*(u64 *)(image + XSAVE_HEADER) |= XCR0_SSE;
	EXPECT(vp_state(HC_SET_VP_STATE, c.id, VP_STATE_XSAVE, page).status, ST_OK, "SET_VP_STATE");
	memset(image, 0, PAGE);
	EXPECT(vp_state(HC_GET_VP_STATE, c.id, VP_STATE_XSAVE, page).status, ST_OK, "GET_VP_STATE");
	EXPECT(image[XSAVE_XMM0], 0x77, "xmm0 in the image");
	memset(image, 0xff, PAGE);
	vp_state(HC_SET_VP_STATE, c.id, VP_STATE_XSAVE, page);
	EXPECT(run_child(&c, 0)->type, MSG_HALT, "the VP still runs");
}

CASE("one", state_refusals, "VP state needs a known type and a page of the root")
{
	struct child c = new_child(0, child_halt);

	CHECK(vp_state(HC_GET_VP_STATE, c.id, VP_STATE_XSAVE, 0x10300).status != ST_OK, "image in the hypervisor");
	CHECK(vp_state(HC_GET_VP_STATE, c.id, VP_STATE_XSAVE, 0).status != ST_OK, "image without a page");
	CHECK(vp_state(HC_GET_VP_STATE, c.id, VP_STATE_XSAVE, ~0ul).status != ST_OK, "image nowhere");
	CHECK(vp_state(HC_GET_VP_STATE, c.id, 0x1234, page_take()).status != ST_OK, "unknown type");
}
