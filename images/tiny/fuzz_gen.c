/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Draft a hypercall: mostly one that makes sense, with something wrong in many of them. */
#include "fuzz.h"

#define OURS 0x10300000ul		/* inside the stand-in (hv.ld) */
#define OURS_FIRST 0x10000ul
#define OURS_END 0x11e00ul
#define RAM_END 0x20000ul		/* 512 MiB: lab/validate/tiny.py */
#define FIRST_LEGAL_VECTOR 0x50u
#define VP_REGS_MAX 100u

#define WITHIN(pfn, first, end) ((pfn) >= (first) / PAGE && (pfn) < (end) / PAGE)

static u64 taken[MAX_CPUS][PAGE / 8];
static u32 ntaken[MAX_CPUS];

bool harmless(u64 pfn)
{
	return WITHIN(pfn, ARENA_START, ARENA_END) || WITHIN(pfn, LARGE_START, LARGE_END) ||
	       (pfn >= OURS_FIRST && pfn < OURS_END) || pfn >= RAM_END;
}

/* A page that we deposit later, which could not be done while a child has it. */
bool to_be_deposited(u64 pfn) { return WITHIN(pfn, ARENA_START, ARENA_END) && !page_is_deposited(pfn); }

/* Pages for a list; those that the call did not take are free again after it. */
static u64 fresh_page(void)
{
	u32 lp = this_lp();

	return taken[lp][ntaken[lp]++] = page_take();
}

void fuzz_untake(void)
{
	u32 lp = this_lp();

	while (ntaken[lp])
		page_untake(taken[lp][--ntaken[lp]]);
}

u64 child_frame(void)
{
	u64 pfn;

	do
		pfn = LARGE_START / PAGE + below((LARGE_END - LARGE_START) / PAGE);
	while (page_is_deposited(pfn));
	return pfn;
}

/* One that the root gave away: nobody else may have it. */
static u64 given_away(void)
{
	for (u32 tries = 0; tries < 50; tries++) {
		u64 pfn = ARENA_START / PAGE + below((ARENA_END - ARENA_START) / PAGE);
		if (page_is_deposited(pfn))
			return pfn;
	}
	return child_frame();
}

u64 some_id(void)
{
	bool any = one_in(6);		/* else one that can do something */

	for (u32 tries = 0; tries < 40 && !one_in(60); tries++) {
		const struct fuzz_partition *p = &fuzz_pool[below(FUZZ_PARTITIONS)];
		if (p->id && (any || (p->active && p->vps)))
			return p->id;
	}
	switch (below(4)) {
	case 0: return 1;
	case 1: return PARTITION_SELF;
	case 2: return below(40);
	}
	return interesting();
}

u32 some_vp(void) { return one_in(16) ? interesting() : below(3); }

static u64 some_pfn(void)
{
	switch (below(12)) {
	case 0: return OURS / PAGE + below(0x1000);
	case 1: return 0xfee00;
	case 2: return interesting();
	case 3: return given_away();
	}
	return child_frame();
}

static u64 some_gfn(void)
{
	switch (below(8)) {
	case 0: return interesting();
	case 1: return below(64) * LARGE_PAGES;
	case 2: return (1ul << 36) - below(4);
	}
	return below(4 * LARGE_PAGES);
}

static u32 some_register(void)
{
	static const u32 group[] = { REG_EXPLICIT_SUSPEND, REG_PENDING_INTERRUPTION, REG_RAX, REG_XMM0, REG_CR0, REG_DR0,
				     REG_ES, REG_IDTR, REG_TSC, REG_VP_RUNTIME, REG_SINT0, REG_STIMER0_CONFIG };

	return one_in(20) ? interesting() : group[below(LENGTH(group))] + below(one_in(3) ? 32 : 8);
}

/* ---- the calls that matter most, with their structures ---- */
static void draft_deposit(struct fuzz_draft *d)
{
	struct in_deposit *in = (void *)d->input;

	in->partition = some_id();
	d->reps = 1 + below(one_in(4) ? 24 : 4);
	for (u32 i = 0; i < d->reps; i++)
		in->pfn[i] = one_in(40) ? some_pfn() : fresh_page();
}

static void draft_withdraw(struct fuzz_draft *d)
{
	((struct in_withdraw *)d->input)->partition = some_id();
	d->reps = 1 + below(4);
}

static void draft_map(struct fuzz_draft *d)
{
	struct in_map_gpa *in = (void *)d->input;
	bool large = one_in(6);

	in->partition = some_id();
	in->gfn = some_gfn();
	in->flags = one_in(5) ? interesting() : one_in(6) ? MAP_NO_ACCESS : below(16);
	d->reps = 1 + below(one_in(4) ? 32 : 3);
	for (u32 i = 0; i < d->reps; i++)
		in->pfn[i] = some_pfn();
	if (!large)
		return;
	in->flags |= MAP_LARGE_PAGE;
	in->gfn &= ~(LARGE_PAGES - 1);
	d->reps = 1;
	in->pfn[0] &= one_in(8) ? ~0ul : ~(LARGE_PAGES - 1);
}

static void draft_unmap(struct fuzz_draft *d)
{
	struct in_unmap_gpa *in = (void *)d->input;

	in->partition = some_id();
	in->gfn = some_gfn();
	in->flags = one_in(3) ? UNMAP_LARGE_PAGE : one_in(8) ? interesting() : 0;
	if (in->flags & UNMAP_LARGE_PAGE)
		in->gfn &= ~(LARGE_PAGES - 1);
	d->reps = 1 + below(one_in(4) ? 512 : 8);
}

static void draft_access_states(struct fuzz_draft *d)
{
	struct in_access_states *in = (void *)d->input;

	in->partition = some_id();
	in->gfn = some_gfn();
	in->flags = one_in(4) ? interesting() : below(16);
	d->reps = 1 + below(64);
}

static void draft_get_registers(struct fuzz_draft *d)
{
	struct in_get_registers *in = (void *)d->input;

	in->partition = some_id();
	in->vp = some_vp();
	d->reps = 1 + below(one_in(6) ? VP_REGS_MAX : 4);
	for (u32 i = 0; i < d->reps; i++)
		in->name[i] = some_register();
}

static void draft_set_registers(struct fuzz_draft *d)
{
	struct in_set_registers *in = (void *)d->input;

	in->partition = some_id();
	in->vp = some_vp();
	d->reps = 1 + below(one_in(6) ? VP_REGS_MAX : 4);
	for (u32 i = 0; i < d->reps; i++) {
		in->element[i].name = some_register();
		in->element[i].value = (struct wire_value){ interesting(), interesting() };
	}
}

static void draft_dispatch(struct fuzz_draft *d)
{
	struct in_dispatch *in = (void *)d->input;

	in->partition = some_id();
	in->vp = some_vp();
	in->flags = one_in(10) ? interesting() : below(2);
}

static void draft_resume(struct fuzz_draft *d)
{
	struct in_set_registers *in = (void *)d->input;

	in->partition = some_id();
	in->vp = some_vp();
	in->element[0].name = REG_EXPLICIT_SUSPEND;
	d->reps = 1;
}

static void draft_state(struct fuzz_draft *d)
{
	struct in_vp_state *in = (void *)d->input;

	in->partition = some_id();
	in->vp = some_vp();
	in->type = one_in(6) ? interesting() : below(5) | (one_in(6) ? 0 : VP_STATE_PFN);
	in->pfn[0] = one_in(8) ? some_pfn() : child_frame();
	d->header = one_in(8) ? below(4) : 1;
	if (d->code == HC_SET_VP_STATE && one_in(2) && WITHIN(in->pfn[0], LARGE_START, LARGE_END) &&
	    !page_is_deposited(in->pfn[0]))
		for (u32 i = 0; i < PAGE / 8; i++)
			((u64 *)page_at(in->pfn[0]))[i] = one_in(3) ? interesting() : 0;
}

static void draft_stats(struct fuzz_draft *d)
{
	struct in_map_stats2 *in = (void *)d->input;
	static const u32 types[] = { STATS_HYPERVISOR, STATS_LP, STATS_PARTITION, STATS_VP };

	in->object.type = one_in(8) ? interesting() : types[below(LENGTH(types))];
	in->object.id[0] = in->object.type & STATS_OF_PARTITION ? some_id() : below(3);
	in->object.id[1] = one_in(8) ? interesting() : below(2) | below(2) << 56;
	in->location = child_frame();
}

/* Everything else: the partition first, then small or interesting words. */
static void draft_any(struct fuzz_draft *d)
{
	u64 *w = (u64 *)d->input;

	w[0] = some_id();
	for (u32 i = 1; i < 12; i++)
		w[i] = one_in(3) ? interesting() : one_in(2) ? some_vp() : 0;
	if (one_in(8))
		d->reps = below(4);
}

struct shape { u16 code, weight; void (*draft)(struct fuzz_draft *); };
static const struct shape shapes[] = {
	{ HC_DEPOSIT_MEMORY, 40, draft_deposit }, { HC_WITHDRAW_MEMORY, 30, draft_withdraw },
	{ HC_MAP_GPA_PAGES, 100, draft_map }, { HC_UNMAP_GPA_PAGES, 70, draft_unmap },
	{ HC_GET_GPA_PAGES_ACCESS_STATES, 30, draft_access_states },
	{ HC_GET_VP_REGISTERS, 60, draft_get_registers }, { HC_SET_VP_REGISTERS, 80, draft_set_registers },
	{ HC_SET_VP_REGISTERS, 30, draft_resume }, { HC_DISPATCH_VP, 160, draft_dispatch },
	{ HC_GET_VP_STATE, 20, draft_state }, { HC_SET_VP_STATE, 20, draft_state },
	{ HC_CREATE_PARTITION, 12, draft_any }, { HC_INITIALIZE_PARTITION, 12, draft_any },
	{ HC_FINALIZE_PARTITION, 3, draft_any }, { HC_DELETE_PARTITION, 8, draft_any },
	{ HC_CREATE_VP, 20, draft_any }, { HC_DELETE_VP, 8, draft_any },
	{ HC_INSTALL_INTERCEPT, 15, draft_any }, { HC_TRANSLATE_VIRTUAL_ADDRESS, 20, draft_any },
	{ HC_MAP_VP_STATE_PAGE, 15, draft_any }, { HC_UNMAP_VP_STATE_PAGE, 10, draft_any },
	{ HC_ASSERT_VIRTUAL_INTERRUPT, 25, draft_any }, { HC_CLEAR_VIRTUAL_INTERRUPT, 5, draft_any },
	{ HC_GET_PARTITION_PROPERTY, 10, draft_any }, { HC_SET_PARTITION_PROPERTY, 10, draft_any },
	{ HC_GET_PARTITION_PROPERTY_EX, 5, draft_any }, { HC_GET_PARTITION_ID, 5, draft_any },
	{ HC_MAP_STATS_PAGE, 8, draft_stats }, { HC_MAP_STATS_PAGE2, 4, draft_stats }, { HC_UNMAP_STATS_PAGE, 8, draft_stats },
	{ HC_GET_LP_RUN_TIME, 5, draft_any }, { HC_GET_SYSTEM_PROPERTY, 5, draft_any },
	{ HC_SET_SYSTEM_PROPERTY, 3, draft_any }, { HC_GET_VP_INDEX_FROM_APIC_ID, 5, draft_any },
	{ HC_MAP_DEVICE_INTERRUPT, 8, draft_any }, { HC_UNMAP_DEVICE_INTERRUPT, 4, draft_any },
	{ HC_CREATE_PORT, 10, draft_create_port }, { HC_DELETE_PORT, 4, draft_port },
	{ HC_CONNECT_PORT, 20, draft_connect_port }, { HC_DISCONNECT_PORT, 4, draft_port },
	{ HC_POST_MESSAGE, 8, draft_post_message }, { HC_SIGNAL_EVENT, 8, draft_signal_event },
	{ HC_NOTIFY_PORT_RING_EMPTY, 4, draft_any }, { HC_NOTIFY_PARTITION_EVENT, 3, draft_any },
	{ HC_REGISTER_INTERCEPT_RESULT, 6, draft_any }, { HC_SEND_IPI, 5, draft_any },
	{ HC_ADD_LOGICAL_PROCESSOR, 2, draft_any }, { HC_ENTER_SLEEP_STATE, 2, draft_any },
};

static const struct shape *pick(void)
{
	static u32 total;
	u32 at, i;

	if (!total)
		for (i = 0; i < LENGTH(shapes); i++)
			total += shapes[i].weight;
	at = below(total);
	for (i = 0; i < LENGTH(shapes) && at >= shapes[i].weight; i++)
		at -= shapes[i].weight;
	return &shapes[i % LENGTH(shapes)];
}

/* ---- what is wrong with it ---- */
static u64 bad_pointer(u64 good)
{
	good = PAGE_BASE(good);
	switch (below(6)) {
	case 0: return good + below(PAGE);
	case 1: return OURS + below(0x1000000);
	case 2: return good + PAGE - 8 * (1 + below(12));
	case 3: return given_away() * PAGE + 8 * below(64);
	case 4: return ~0ul - below(PAGE);
	}
	return (1ul << 40) + interesting() * 8;
}

static void spoil(struct fuzz_draft *d)
{
	switch (below(9)) {
	case 0: d->input[below(96)] ^= BIT(below(8)); break;
	case 1: ((u64 *)d->input)[below(12)] = interesting(); break;
	case 2: d->reps = interesting() & CTL_REPS_MASK; break;
	case 3: d->start = interesting() & CTL_REPS_MASK; break;
	case 4: d->header = below(1024); break;
	case 5: d->fast = true; d->in = some_id(); d->out = interesting(); d->input = NULL; break;
	case 6: d->code = one_in(40) ? interesting() : shapes[below(LENGTH(shapes))].code; break;
	case 7: d->in = bad_pointer(d->in); d->input = NULL; break;
	case 8: d->out = bad_pointer(d->out); break;
	}
}

/* What would rightly end the machine, or this program's ways to make calls. */
static void keep_alive(struct fuzz_draft *d)
{
	u64 *w = d->fast ? &d->in : (u64 *)d->input;

	if (d->code == HC_ACQUIRE_SPARSE_SPA_PAGE_HOST_ACCESS || d->code == HC_RELEASE_SPARSE_SPA_PAGE_HOST_ACCESS)
		d->code = HC_GET_VP_REGISTERS;	/* a page that we may not touch any more: cases and unit tests do that */
	if (!w)
		return;
	if (d->code == HC_ENTER_SLEEP_STATE && (u32)w[0] == SLEEP_STATE_S5)
		w[0]++;
	if (d->code == HC_SEND_IPI)
		w[0] = FIRST_LEGAL_VECTOR + below(16);
	/* the vector of a port, a timer or an interrupt of ours is checked by the hypervisor, not here */
}

/* A bad pointer may land in our own pages, where any call's input is legal: then the input is what lies there. */
static bool deadly(const struct fuzz_draft *d)
{
	return !d->input && !d->fast && (d->code == HC_ENTER_SLEEP_STATE || d->code == HC_SEND_IPI ||
					 d->code == HC_DEPOSIT_MEMORY || d->code == HC_MAP_GPA_PAGES ||
					 d->code == HC_MAP_VP_STATE_PAGE || d->code == HC_MAP_STATS_PAGE2 ||
					 d->code == HC_SET_VP_STATE || d->code == HC_GET_VP_STATE);
}

void fuzz_generate(struct fuzz_draft *d)
{
	const struct shape *s = pick();

	d->code = s->code;
	s->draft(d);
	for (u32 n = one_in(3) ? 1 + below(2) : 0; n && d->input; n--)
		spoil(d);
	if (deadly(d))
		d->code = HC_GET_VP_REGISTERS;
	keep_alive(d);
	d->control = d->code | (d->fast ? CTL_FAST : 0) | (u64)d->header << CTL_VARHEAD_SHIFT |
		     (u64)d->reps << CTL_REPS_SHIFT | (u64)d->start << CTL_START_SHIFT;
	if (one_in(200))
		d->control |= BIT(below(64)) & CTL_RESERVED;
}
