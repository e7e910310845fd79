/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The fuzzer's loop: make a call, check what must hold after any call. Arguments: "fuzz seed=S calls=N".
 * Output: "FUZZ ..." lines, and in the end what start.c writes for one case.
 */
#include "fuzz.h"

#define SEED_DEFAULT 1
#define CALLS_DEFAULT 20000
#define GUARD 64u			/* bytes looked at before and behind the output page, after every call */
#define GUARD_ALL 4096u			/* calls between two looks at all of it */
#define CANARY 0xc5u
#define TEND 96u			/* calls between two looks at what exists */
#define INPUT_KEPT 256u
#define PIT_COUNT 120u			/* 0.1 ms */

struct fuzz_block fuzz_block;
struct fuzz_partition fuzz_pool[FUZZ_PARTITIONS];
static u64 state[MAX_CPUS];
static struct { u8 output[3][PAGE], input[2][PAGE]; } pages[MAX_CPUS] __attribute__((aligned(4096)));
static u32 cpus = 1;
static volatile bool finished;
static bool model_taken;

/* Statuses that the TLFS or Linux name; anything else is an accident. */
static const u16 defined[] = {
	0x00, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x10, 0x11, 0x12, 0x13,
	0x14, 0x15, 0x18, 0x1d, 0x22, 0x38, 0x3c, 0x3e, 0x41, 0x50, 0x51, 0x57, 0x60, 0x6d, 0x71, 0x72, 0x75, 0x79,
};

u64 rnd(void)
{
	u64 *s = &state[this_lp()];

	*s ^= *s >> 12;
	*s ^= *s << 25;
	*s ^= *s >> 27;
	return (*s * 0x2545f4914f6cdd1dul) >> 13;
}

u64 interesting(void)
{
	static const u64 edge[] = { 0, 1, 2, 0xf, 0xff, 0x100, 0xfff, 0x1000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff,
				    1ul << 36, 1ul << 47, 1ul << 52, 0x7ffffffffffffffful, 0x8000000000000000ul, ~0ul };

	switch (below(4)) {
	case 0: return edge[below(LENGTH(edge))];
	case 1: return BIT(below(64));
	case 2: return rnd() >> below(51);
	}
	return below(64);
}

static void canaries_set(void)
{
	u32 lp = this_lp();

	memset(pages[lp].output[0], CANARY, PAGE);
	memset(pages[lp].output[2], CANARY, PAGE);
	memset(pages[lp].input[1], CANARY, PAGE);
}

static void canary(const u8 *p, u32 n, const char *where)
{
	for (u32 i = 0; i < n; i++)
		if (p[i] != CANARY)
			FAIL("call %lu wrote %#x %s the output page, at %#x", fuzz_last()->number, p[i], where, i);
}

static void canaries_check(void)
{
	bool all = fuzz_last()->number % GUARD_ALL == 0;
	u32 lp = this_lp();

	canary(all ? pages[lp].output[0] : pages[lp].output[0] + PAGE - GUARD, all ? PAGE : GUARD, "before");
	canary(pages[lp].output[2], all ? PAGE : GUARD, "behind");
	canary(pages[lp].input[1], all ? PAGE : GUARD, "behind the input page, not");
}

static bool known(u16 status)
{
	for (u32 i = 0; i < LENGTH(defined); i++)
		if (defined[i] == status)
			return true;
	return false;
}

/* Pages that a hypercall names must not be ones that this program needs. */
static void make_harmless(const struct fuzz_draft *d)
{
	static const struct { u16 code, first; } lists[] = {
		{ HC_DEPOSIT_MEMORY, OFFSET(struct in_deposit, pfn) }, { HC_MAP_GPA_PAGES, OFFSET(struct in_map_gpa, pfn) },
		{ HC_GET_VP_STATE, OFFSET(struct in_vp_state, pfn) }, { HC_SET_VP_STATE, OFFSET(struct in_vp_state, pfn) },
		{ HC_MAP_VP_STATE_PAGE, OFFSET(struct in_map_state_page, location) },	/* an L1VH parent's choice */
		{ HC_MAP_STATS_PAGE2, OFFSET(struct in_map_stats2, location) },
	};
	u64 *w = (u64 *)d->input;

	for (u32 l = 0; d->input && l < LENGTH(lists); l++)
		for (u32 i = lists[l].first / 8; lists[l].code == d->code && i < PAGE / 8; i++)
			if (!harmless(w[i]) || (d->code == HC_MAP_GPA_PAGES && to_be_deposited(w[i])))
				w[i] = child_frame();
}

static void note(const struct fuzz_draft *d)
{
	struct fuzz_note *n = fuzz_last();

	n->control = d->control;
	n->in = d->in;
	n->out = d->out;
	for (u32 i = 0; i < FUZZ_WORDS; i++)
		n->word[i] = d->input ? ((u64 *)d->input)[i] : 0;
}

static void check_result(const struct fuzz_draft *d, struct result r, const u8 *kept)
{
	if (!known(r.status))
		FAIL("call %lu, code %#x: status %#x is not a defined one", fuzz_last()->number, d->code, r.status);
	if (r.raw & ~(0xffful << RESULT_DONE_SHIFT | 0xffff))
		FAIL("call %lu, code %#x: reserved bits in result %#lx", fuzz_last()->number, d->code, r.raw);
	if (d->reps && r.done > d->reps)
		FAIL("call %lu, code %#x: %u of %u repetitions done", fuzz_last()->number, d->code, r.done, d->reps);
	if (d->reps && r.status == ST_OK && r.done != d->reps)
		FAIL("call %lu, code %#x: success with %u of %u repetitions", fuzz_last()->number, d->code, r.done, d->reps);
	if (!d->reps && r.done)
		FAIL("call %lu, code %#x: %u repetitions of a simple call", fuzz_last()->number, d->code, r.done);
	if (d->input && memcmp(kept, d->input, INPUT_KEPT))
		FAIL("call %lu, code %#x changed its input", fuzz_last()->number, d->code);
}

/* ---- two LPs ---- */
static void model_lock(void)
{
	while (__atomic_exchange_n(&model_taken, true, __ATOMIC_ACQUIRE)) {
		if (!this_lp() && lp_gave_up())
			FAIL("the other LP's check failed");
		relax();
	}
}

static void model_unlock(void) { __atomic_store_n(&model_taken, false, __ATOMIC_RELEASE); }

static void one_call(void)
{
	u8 *input = pages[this_lp()].input[0], kept[INPUT_KEPT];
	struct fuzz_draft d = { .input = input, .in = (u64)input, .out = (u64)pages[this_lp()].output[1] };
	struct result r;

	memset(input, 0, INPUT_KEPT);
	model_lock();
	fuzz_generate(&d);
	make_harmless(&d);
	memcpy(kept, input, INPUT_KEPT);
	note(&d);
	if (!fuzz_learns(d.code))
		model_unlock();
	r = raw_call(d.control, d.in, d.out);
	COUNT(fuzz_block.status[r.status % FUZZ_STATUSES]);
	COUNT(fuzz_block.code[d.code % FUZZ_CODES]);
	if (r.status == ST_OK)
		COUNT(fuzz_block.good[d.code % FUZZ_CODES]);
	check_result(&d, r, kept);
	canaries_check();
	if (!fuzz_learns(d.code))
		model_lock();
	fuzz_learn(&d, r);
	fuzz_untake();
	model_unlock();
	if (d.code != HC_DISPATCH_VP)
		return;
	sentinels_check();
	if (r.status == ST_OPERATION_DENIED)	/* the hypervisor schedules: now it has the time to */
		asm volatile("sti; hlt; cli" ::: "memory");
}

/* The PIT and not the APIC's timer: that one may become the hypervisor's own. It ends the run of a child that loops. */
static void timer_on(void)
{
	pic_timer(PIT_COUNT);
}

static void timer_off(void) { pic_timer(0); }

static void set_up(void)
{
	u32 alive = 0;

	for (u32 i = 0; i < FUZZ_PARTITIONS; i++)
		alive += fuzz_pool[i].active && fuzz_pool[i].vps;
	fuzz_reclaim();
	if (alive < FUZZ_ALIVE)
		fuzz_set_up();
}

/* One LP's calls, until all LPs together have made as many as were planned. */
static void make_calls(void *unused)
{
	(void)unused;
	canaries_set();
	sentinels_set();
	while (!finished) {
		struct fuzz_note *n = fuzz_last();

		n->number++;
		if (!this_lp()) {
			finished = fuzz_block.last[0].number + fuzz_block.last[1].number >= fuzz_block.planned;
			if (cpus > 1)	/* the PIT's interrupts are ours alone */
				poke_lp(1);
			if (n->number % TEND == 1) {
				model_lock();
				set_up();
				model_unlock();
			}
		}
		if (one_in(24))
			fuzz_msr();
		else
			one_call();
		interrupts_on();
		interrupts_off();
	}
}

static void run(void)
{
	timer_on();
	fuzz_block.begun = rdtsc();
	if (cpus > 1)
		on_lp(1, make_calls, NULL);
	make_calls(NULL);
	while (cpus > 1 && !lp_idle(1)) {
		if (lp_gave_up())
			FAIL("the other LP's check failed");
		poke_lp(1);
		interrupts_on();
		interrupts_off();
	}
	fuzz_block.ended = rdtsc();
	timer_off();
	fuzz_tear_down();
}

CASE("fuzz", fuzz_case, "random hypercalls do no harm, and all memory comes back") { run(); }

void fuzz(void)
{
	fuzz_block.seed = number(argument("seed"), SEED_DEFAULT);
	fuzz_block.planned = number(argument("calls"), CALLS_DEFAULT);
	cpus = number(argument("cpus"), 1) > 1 ? MAX_CPUS : 1;
	for (u32 i = 0; i < MAX_CPUS; i++)
		state[i] = (fuzz_block.seed + ((u64)i << 32)) * 0x9e3779b97f4a7c15ul + 1;
	fuzz_block.magic = FUZZ_MAGIC;
	print("FUZZ seed %lu calls %lu\n", fuzz_block.seed, fuzz_block.planned);
}
