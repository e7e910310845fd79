/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A hypervisor that schedules children itself: they run where a VP of the root halts, until it has something to do. */
#include "tiny.h"

#define OTHER 1
#define ROUNDS 10
#define SETTLE 2000u			/* polls in which a child that runs would have counted on */
#define PORT 0x10
#define CODE (CODE_GFN * PAGE)
#define REG_RBX (REG_RAX + 3)

/* ---- the other LP ---- */
static volatile bool stop;
static volatile u64 other_wakes;

/* Halts, as an idle CPU does; its SynIC and interrupts are on. */
static void be_idle(void *sint)
{
	synic_on((u64)sint, VECTOR_IGNORE);
	while (!stop) {
		asm volatile("sti; hlt; cli" ::: "memory");
		other_wakes++;
	}
	synic_off((u64)sint);
}

static void other_idles(void)
{
	stop = false;
	on_lp(OTHER, be_idle, (void *)SINT_INTERCEPT);
}

static void other_ends(void)
{
	stop = true;
	send_ipi(OTHER, VECTOR_IGNORE);
	join(OTHER);
}

/* A child that counts, on the other LP. */
static struct child spinning(void)
{
	struct child c = new_child(0, child_spin);

	EXPECT(set_register(c.id, 0, REG_RBX, DATA_GFN * PAGE), ST_OK, "set rbx");
	other_idles();
	return c;
}

static void counts_on(const struct child *c, const char *what)
{
	u32 seen = *data_of(c, 0);

	WAIT(*data_of(c, 0) > seen + 2, what);
}

static void stands_still(const struct child *c, const char *what)
{
	u32 seen = *data_of(c, 0);

	for (u32 i = 0; i < SETTLE; i++)
		relax();
	EXPECT(*data_of(c, 0), seen, what);
}

static u64 system_property(u32 id)
{
	struct in_get_system_property *in = call_in();

	in->id = id;
	EXPECT(call(HC_GET_SYSTEM_PROPERTY), ST_OK, "GET_SYSTEM_PROPERTY");
	return ((struct out_get_system_property *)call_out())->value;
}

/* ---- cases ---- */
CASE("core", names_itself, "the scheduler's type is core, and DISPATCH_VP is denied")
{
	struct out_dispatch out;
	struct child c = new_child(0, child_halt);
	u32 r[4];

	cpuid(LEAF_FEATURES, 0, r);
	EXPECT(r[2] & EXT_VECTOR_INJECTION, 0, "interrupts through a page that no dispatch looks at");
	EXPECT(system_property(SYS_SCHEDULER_TYPE), SCHEDULER_CORE_SMT, "scheduler type");
	EXPECT(dispatch_once(c.id, 0, 0, &out), ST_OPERATION_DENIED, "DISPATCH_VP");
}

CASE("core", runs_in_halt, "a child runs while the root halts, and its intercept wakes the root")
{
	struct message *slot;
	struct child c;
	u64 polls = 0;

	c = new_child(0, child_in);
	synic_on(SINT_INTERCEPT, VECTOR_TEST);
	slot = sint_slot(SINT_INTERCEPT);
	for (; !slot->type && polls < ROUNDS; polls++)
		asm volatile("sti; hlt; cli" ::: "memory");
	EXPECT(slot->type, MSG_OPAQUE_INTERCEPT, "message in the SynIC");
	EXPECT(slot->sender, c.id, "sender");
	EXPECT((u32)slot->payload[0], 0, "VP in the message");
	EXPECT(c.message->type, MSG_IO_PORT, "message in the VP's page");
	EXPECT(((struct wire_io_message *)c.message->payload)->port, PORT, "port");
	EXPECT(register_of(c.id, 0, REG_INTERCEPT_SUSPEND), 1, "intercept suspend register");
	message_done(slot);
	synic_off(SINT_INTERCEPT);
}

CASE("core", resumes, "clearing the intercept suspend register lets the VP run on")
{
	struct message *slot;
	struct child c = new_child(0, child_in);

	synic_on(SINT_INTERCEPT, VECTOR_TEST);
	slot = sint_slot(SINT_INTERCEPT);
	for (u32 i = 0; i < ROUNDS; i++) {
		for (u32 polls = 0; !slot->type && polls < ROUNDS; polls++)
			asm volatile("sti; hlt; cli" ::: "memory");
		EXPECT(slot->type, MSG_OPAQUE_INTERCEPT, "message");
		EXPECT(c.message->type, i & 1 ? MSG_HALT : MSG_IO_PORT, "what the child did");
		memset(c.message, 0, sizeof *c.message);
		message_done(slot);
		if (!(i & 1))
			EXPECT(set_register(c.id, 0, REG_RIP, CODE + 2), ST_OK, "step over");
		else
			EXPECT(set_register(c.id, 0, REG_RIP, CODE), ST_OK, "begin again");
		EXPECT(set_register(c.id, 0, REG_INTERCEPT_SUSPEND, 0), ST_OK, "resume");
	}
	synic_off(SINT_INTERCEPT);
}

CASE("core", suspend_running, "a VP suspended while it runs on another LP stands still afterwards")
{
	struct child c = spinning();

	for (u32 i = 0; i < ROUNDS; i++) {
		counts_on(&c, "the child to run");
		EXPECT(set_register(c.id, 0, REG_EXPLICIT_SUSPEND, EXPLICITLY_SUSPENDED), ST_OK, "suspend");
		stands_still(&c, "turns of a suspended child");
		EXPECT(register_of(c.id, 0, REG_INTERCEPT_SUSPEND), 0, "no message is under way");
		EXPECT(set_register(c.id, 0, REG_EXPLICIT_SUSPEND, 0), ST_OK, "resume");
	}
	counts_on(&c, "the child to run at last");
	other_ends();
}

CASE("core", registers_running, "registers of a running VP can be read and written, and it runs on")
{
	struct child c = spinning();

	counts_on(&c, "the child to run");
	for (u32 i = 0; i < ROUNDS; i++) {
		u64 rip = register_of(c.id, 0, REG_RIP);

		if (rip < CODE || rip >= CODE + PAGE)
			FAIL("rip %#lx is not in the child's code", rip);
		EXPECT(set_register(c.id, 0, REG_R15, i), ST_OK, "set r15");
		EXPECT(register_of(c.id, 0, REG_R15), i, "r15 read back");
		counts_on(&c, "the child to run on");
	}
	other_ends();
}

CASE("core", delete_running, "a VP that runs on another LP can be deleted")
{
	for (u32 i = 0; i < ROUNDS; i++) {
		struct child c = spinning();
		u32 seen;

		counts_on(&c, "the child to run");
		EXPECT(delete_vp(c.id, 0), ST_OK, "DELETE_VP");
		seen = *data_of(&c, 0);
		for (u32 n = 0; n < SETTLE; n++)
			relax();
		EXPECT(*data_of(&c, 0), seen, "turns of the deleted VP");
		EXPECT(create_vp(c.id, 0), ST_OK, "its place is free again");
		other_ends();
		CHECK(!tear_down_all(), "the partition is not torn down in order");
	}
}

CASE("core", finalise_running, "a partition whose VP runs on another LP is finalised, and gives all pages back")
{
	for (u32 i = 0; i < ROUNDS; i++) {
		struct child c = spinning();

		counts_on(&c, "the child to run");
		EXPECT(with_partition(HC_FINALIZE_PARTITION, c.id), ST_OK, "FINALIZE_PARTITION");
		stands_still(&c, "turns of a child of a finalised partition");
		EXPECT(withdraw_all(c.id), POOL, "pages withdrawn");
		EXPECT(with_partition(HC_DELETE_PARTITION, c.id), ST_OK, "DELETE_PARTITION");
		forget(c.id);
		other_ends();
	}
}

CASE("core", unmap_running, "a page unmapped under a child that is scheduled for us is out of its reach")
{
	struct child c = new_child(0, child_spin);
	u64 page = page_take();
	u32 after;

	EXPECT(map_page(c.id, 0x10, MAP_RW, page), ST_OK, "map the target");
	EXPECT(set_register(c.id, 0, REG_RBX, 0x10 * PAGE), ST_OK, "set rbx");
	other_idles();
	counts_on(&c, "the child to run");
	EXPECT(unmap_pages(c.id, 0x10, 0, 1, 0).status, ST_OK, "UNMAP_GPA_PAGES");
	after = *data_of(&c, 0);
	WAIT(register_of(c.id, 0, REG_INTERCEPT_SUSPEND), "the intercept");
	CHECK(*data_of(&c, 0) <= after + 1, "the child went on reading the page that was unmapped");
	EXPECT(c.message->type, MSG_UNMAPPED_GPA, "message");
	other_ends();
}

CASE("core", root_first, "an interrupt of the root takes the LP from a child that never leaves it")
{
	struct child c = spinning();
	u64 before;

	counts_on(&c, "the child to run");
	for (u32 i = 1; i <= ROUNDS; i++) {
		before = interrupts[OTHER][VECTOR_TEST];
		send_ipi(OTHER, VECTOR_TEST);
		WAIT(interrupts[OTHER][VECTOR_TEST] == before + 1, "the interrupt");
		counts_on(&c, "the child to run on");
	}
	other_ends();
}

CASE("core", wakes_sleeper, "a VP made runnable on one LP runs at once on another that has halted")
{
	struct child c = new_child(0, child_spin);
	u64 wakes;

	EXPECT(set_register(c.id, 0, REG_RBX, DATA_GFN * PAGE), ST_OK, "set rbx");
	EXPECT(set_register(c.id, 0, REG_EXPLICIT_SUSPEND, EXPLICITLY_SUSPENDED), ST_OK, "suspend");
	other_idles();
	for (u32 i = 0; i < SETTLE; i++)
		relax();
	wakes = other_wakes;
	EXPECT(*data_of(&c, 0), 0, "turns of a suspended child");
	EXPECT(set_register(c.id, 0, REG_EXPLICIT_SUSPEND, 0), ST_OK, "resume");
	counts_on(&c, "the child to run");
	CHECK(other_wakes > wakes, "the other LP was not woken");
	other_ends();
}

/* ---- an L1VH parent ---- */
static const u16 of_the_root[] = {
	HC_GET_LP_RUN_TIME, HC_GET_PARTITION_ID, HC_SET_SYSTEM_PROPERTY, HC_ADD_LOGICAL_PROCESSOR, HC_GET_SYSTEM_PROPERTY,
	HC_MAP_DEVICE_INTERRUPT, HC_UNMAP_DEVICE_INTERRUPT, HC_ENTER_SLEEP_STATE, HC_NOTIFY_PARTITION_EVENT,
};

CASE("l1vh", denied, "an L1VH parent is denied what is the root's alone")
{
	struct in_stats_page *in;

	for (u32 i = 0; i < sizeof of_the_root / sizeof *of_the_root; i++) {
		call_in();
		if (call(of_the_root[i]) != ST_ACCESS_DENIED)
			FAIL("call %#x is not denied", of_the_root[i]);
	}
	in = call_in();
	in->type = STATS_HYPERVISOR;
	EXPECT(call(HC_MAP_STATS_PAGE), ST_ACCESS_DENIED, "statistics of the hypervisor");
	in = call_in();
	in->type = STATS_LP;
	EXPECT(call(HC_MAP_STATS_PAGE), ST_ACCESS_DENIED, "statistics of an LP");
}

CASE("l1vh", capabilities, "the parent may say where pages go, and a child runs with its own")
{
	struct in_get_property_ex *in = call_in();
	struct in_map_state_page *map;
	struct child c;
	u64 page = page_take();
	struct message *m = page_at(page);

	in->partition = PARTITION_SELF;
	in->code = PROP_VMM_CAPABILITIES;
	EXPECT(call(HC_GET_PARTITION_PROPERTY_EX), ST_OK, "GET_PARTITION_PROPERTY_EX");
	EXPECT(((struct out_vmm_capabilities *)call_out())->bits, VMM_CAP_OVERLAY_GPFN, "VMM capabilities");
	c = new_child(0, child_in);
	map = call_in();
	map->partition = c.id;
	map->type = STATE_PAGE_MESSAGE;
	map->flags = MAP_STATE_LOCATION;
	map->location = page;
	EXPECT(call(HC_MAP_VP_STATE_PAGE), ST_OK, "MAP_VP_STATE_PAGE at our page");
	EXPECT(((struct out_map_page *)call_out())->pfn, page, "where it is");
	synic_on(SINT_INTERCEPT, VECTOR_TEST);
	for (u32 polls = 0; !m->type && polls < ROUNDS; polls++)
		asm volatile("sti; hlt; cli" ::: "memory");
	EXPECT(m->type, MSG_IO_PORT, "message in our page");
	message_done(sint_slot(SINT_INTERCEPT));
	synic_off(SINT_INTERCEPT);
	EXPECT(delete_vp(c.id, 0), ST_OK, "DELETE_VP");
	page_give(page);
}

CASE("l1vh", overlay, "an overlay page hides what it covers, moves, and gives it back")
{
	u64 first = page_take(), second = page_take(), old;
	struct in_deposit *in;
	const u64 mine = 0x1122334455667788ul;

	EXPECT(msr_read(SMSR_REFERENCE_TSC, &old), NO_FAULT, "read the TSC page MSR");
	*(u64 *)page_at(first) = *(u64 *)page_at(second) = mine;
	EXPECT(msr_write(SMSR_REFERENCE_TSC, first * PAGE | SMSR_ENABLE), NO_FAULT, "put it over a page");
	EXPECT(((struct wire_tsc_page *)page_at(first))->sequence, 1, "sequence in the TSC page");
	EXPECT(msr_write(SMSR_REFERENCE_TSC, second * PAGE | SMSR_ENABLE), NO_FAULT, "move it");
	EXPECT(*(u64 *)page_at(first), mine, "the page that was covered");
	EXPECT(((struct wire_tsc_page *)page_at(second))->sequence, 1, "sequence in the TSC page");
	EXPECT(msr_write(SMSR_REFERENCE_TSC, 0), NO_FAULT, "switch it off");
	EXPECT(*(u64 *)page_at(second), mine, "the second page that was covered");
	EXPECT(msr_write(SMSR_REFERENCE_TSC, first * PAGE | SMSR_ENABLE), NO_FAULT, "on again");
	in = call_in();
	in->partition = PARTITION_SELF;
	in->pfn[0] = first;
	EXPECT(call_reps(HC_DEPOSIT_MEMORY, 1, 0).status, ST_OPERATION_DENIED, "deposit of a covered page");
	EXPECT(msr_write(SMSR_REFERENCE_TSC, 0), NO_FAULT, "off again");
	EXPECT(msr_write(SMSR_REFERENCE_TSC, ~0xffful | SMSR_ENABLE), 13, "an address without memory");
	page_give(first);
	page_give(second);
}
