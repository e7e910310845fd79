/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A child with code: registers, messages, and running it. */
#include "tiny.h"

#define CR0_FLAT (CR0_PE | CR0_ET | CR0_NE)
#define ATTR_CODE 0xc09bu		/* G, D, present, code */
#define ATTR_DATA 0xc093u
#define SEG_HIGH(selector, attributes) (0xfffffffful | (u64)(selector) << 32 | (u64)(attributes) << 48)
#define CODE_SELECTOR 8
#define DATA_SELECTOR 16

u16 set_register2(u64 id, u32 vp, u32 name, u64 low, u64 high)
{
	struct in_set_registers *in = call_in();

	in->partition = id;
	in->vp = vp;
	in->element[0].name = name;
	in->element[0].value = (struct wire_value){ low, high };
	return call_reps(HC_SET_VP_REGISTERS, 1, 0).status;
}

u16 set_register(u64 id, u32 vp, u32 name, u64 value) { return set_register2(id, vp, name, value, 0); }

u16 get_register(u64 id, u32 vp, u32 name, struct wire_value *value)
{
	struct in_get_registers *in = call_in();
	struct wire_value *out = call_out();
	u16 st;

	in->partition = id;
	in->vp = vp;
	in->name[0] = name;
	st = call_reps(HC_GET_VP_REGISTERS, 1, 0).status;
	*value = *out;
	return st;
}

u64 register_of(u64 id, u32 vp, u32 name)
{
	struct wire_value v;

	EXPECT(get_register(id, vp, name, &v), ST_OK, "GET_VP_REGISTERS");
	return v.low;
}

static void *state_page(u64 id, u32 vp, u32 type)
{
	struct in_map_state_page *in = call_in();
	struct out_map_page *out = call_out();

	in->partition = id;
	in->vp = vp;
	in->type = type;
	EXPECT(call(HC_MAP_VP_STATE_PAGE), ST_OK, "MAP_VP_STATE_PAGE");
	return page_at(out->pfn);
}

struct message *message_page(u64 id, u32 vp) { return state_page(id, vp, STATE_PAGE_MESSAGE); }
struct wire_register_page *register_page(u64 id, u32 vp) { return state_page(id, vp, STATE_PAGE_REGISTERS); }

void flat_vp(u64 id, u32 vp, u64 rip)
{
	EXPECT(set_register2(id, vp, REG_ES + 1, 0, SEG_HIGH(CODE_SELECTOR, ATTR_CODE)), ST_OK, "set cs");
	EXPECT(set_register2(id, vp, REG_ES, 0, SEG_HIGH(DATA_SELECTOR, ATTR_DATA)), ST_OK, "set es");
	for (u32 s = 2; s < 6; s++)
		EXPECT(set_register2(id, vp, REG_ES + s, 0, SEG_HIGH(DATA_SELECTOR, ATTR_DATA)), ST_OK, "set segment");
	EXPECT(set_register2(id, vp, REG_IDTR, 0, 0), ST_OK, "set idtr");
	EXPECT(set_register(id, vp, REG_CR0, CR0_FLAT), ST_OK, "set cr0");
	EXPECT(set_register(id, vp, REG_RFLAGS, RFLAGS_FIXED), ST_OK, "set rflags");
	EXPECT(set_register(id, vp, REG_RIP, rip), ST_OK, "set rip");
	EXPECT(set_register(id, vp, REG_RAX + 6, DATA_GFN * PAGE), ST_OK, "set rsi");
	EXPECT(set_register(id, vp, REG_EXPLICIT_SUSPEND, 0), ST_OK, "resume the VP");
	synic_off(SINT_INTERCEPT);
}

struct child new_child(u64 flags, const u8 *code)
{
	struct child c = { .id = new_partition(flags) };

	c.code = page_take();
	c.data = page_take();
	memcpy(page_at(c.code), code, PAGE / 4);
	EXPECT(map_page(c.id, CODE_GFN, MAP_RWX, c.code), ST_OK, "map the code");
	EXPECT(map_page(c.id, DATA_GFN, MAP_RW, c.data), ST_OK, "map the data");
	EXPECT(create_vp(c.id, 0), ST_OK, "CREATE_VP");
	c.message = message_page(c.id, 0);
	flat_vp(c.id, 0, CODE_GFN * PAGE);
	return c;
}

u16 dispatch_once(u64 id, u32 vp, u32 flags, struct out_dispatch *out)
{
	struct in_dispatch *in = call_in();
	u16 st;

	in->partition = id;
	in->vp = vp;
	in->flags = flags;
	st = call(HC_DISPATCH_VP);
	*out = *(struct out_dispatch *)call_out();
	return st;
}

#define DISPATCHES 10000u

/* NULL when the VP blocks or is suspended instead. */
struct message *run_vp(u64 id, u32 vp, struct message *message, u32 flags)
{
	struct out_dispatch out;

	for (u32 i = 0; i < DISPATCHES; i++, flags = 0) {
		u16 st = dispatch_once(id, vp, flags, &out);

		if (st)
			FAIL("DISPATCH_VP of VP %u: status %#x", vp, st);
		if (out.event == DISPATCH_EVENT_INTERCEPT)
			return message;
		if (out.event == DISPATCH_EVENT_SUSPEND || out.state == DISPATCH_STATE_BLOCKED)
			return NULL;
		interrupts_on();
		interrupts_off();
	}
	FAIL("VP %u sends no message in %u dispatches", vp, DISPATCHES);
}

struct message *run_child(const struct child *c, u32 flags)
{
	struct message *m = run_vp(c->id, 0, c->message, flags);

	if (!m)
		FAIL("the VP blocked instead of sending a message");
	return m;
}
