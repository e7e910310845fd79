/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the fuzzer knows of the hypervisor's state: ids, VPs, where each page is. And random code for children. */
#include "fuzz.h"

#define MAX_STATS 128
#define KEPT_STATS 32
#define CODE_BYTES 256u
#define SETUP_PAGES 48
#define PAGES_LOW 4096u
#define LARGE_FIRST (LARGE_START / PAGE)
#define IS_ARENA(pfn) ((pfn) >= ARENA_START / PAGE && (pfn) < ARENA_END / PAGE)

static struct in_stats_page stats[MAX_STATS];
static u32 nstats;

static u64 real_id(u64 id) { return id == PARTITION_SELF ? 1 : id; }

static struct fuzz_partition *find(u64 id)
{
	for (u32 i = 0; i < FUZZ_PARTITIONS; i++)
		if (id && fuzz_pool[i].id == id)
			return &fuzz_pool[i];
	return NULL;
}

static void created(u64 id)
{
	for (u32 i = 0; i < FUZZ_PARTITIONS; i++)
		if (!fuzz_pool[i].id) {
			fuzz_pool[i] = (struct fuzz_partition){ .id = id };
			return;
		}
	FAIL("partition %lu is one more than there can be", id);
}

static void learn_deposit(const struct fuzz_draft *d, const struct in_deposit *in, u32 done)
{
	for (u32 i = d->start; i < d->reps; i++) {
		u64 pfn = in->pfn[i];

		if (i < done && IS_ARENA(pfn))
			page_deposited(pfn, real_id(in->partition));
		else if (i < done)
			page_deposited_elsewhere(pfn, real_id(in->partition));
	}
}

static void learn_withdraw(const struct fuzz_draft *d, u64 id, u32 done)
{
	const u64 *pfn = (const u64 *)d->out;

	for (u32 i = d->start; i < done; i++)
		page_withdrawn(pfn[i], real_id(id));
}

static struct in_stats_page named(const struct in_stats_page *in)
{
	struct in_stats_page s = *in;

	if (s.type & STATS_OF_PARTITION)
		s.id[0] = real_id(s.id[0]);
	return s;
}

static void learn_unmapped_stats(const struct in_stats_page *in)
{
	struct in_stats_page s = named(in);

	for (u32 i = 0; i < nstats; i++)
		if (!memcmp(&stats[i].id, s.id, sizeof s.id) && stats[i].type == s.type) {
			stats[i] = stats[--nstats];
			return;
		}
	FAIL("call %lu unmapped a statistics page that was not mapped", fuzz_last()->number);
}

bool fuzz_learns(u16 code)
{
	switch (code) {
	case HC_CREATE_PARTITION: case HC_INITIALIZE_PARTITION: case HC_FINALIZE_PARTITION: case HC_DELETE_PARTITION:
	case HC_DEPOSIT_MEMORY: case HC_WITHDRAW_MEMORY: case HC_CREATE_VP: case HC_DELETE_VP:
	case HC_MAP_STATS_PAGE: case HC_MAP_STATS_PAGE2: case HC_UNMAP_STATS_PAGE: return true;
	}
	return false;
}

void fuzz_learn(const struct fuzz_draft *d, struct result r)
{
	u64 fast[2] = { d->in, d->out };
	const void *in = d->fast ? (void *)fast : (void *)d->in;
	u64 id;
	struct fuzz_partition *p;

	if (r.status && d->code != HC_DEPOSIT_MEMORY && d->code != HC_WITHDRAW_MEMORY)
		return;
	if (d->code == HC_GET_PARTITION_ID || (!d->fast && !d->in))
		return;
	switch (d->code) {
	case HC_CREATE_PARTITION: created(*(const u64 *)d->out); return;
	case HC_DEPOSIT_MEMORY:
		if (r.done)
			learn_deposit(d, in, r.done);
		return;
	case HC_WITHDRAW_MEMORY:
		if (r.done)
			learn_withdraw(d, *(const u64 *)in, r.done);
		return;
	case HC_MAP_STATS_PAGE:
	case HC_MAP_STATS_PAGE2:	/* begins alike */
		if (nstats == MAX_STATS)
			FAIL("more than %u mappings of statistics pages", nstats);
		stats[nstats++] = named(in);
		return;
	case HC_UNMAP_STATS_PAGE: learn_unmapped_stats(in); return;
	case HC_DISPATCH_VP:
		COUNT(fuzz_block.dispatched);
		if (((const struct out_dispatch *)d->out)->event == DISPATCH_EVENT_INTERCEPT)
			COUNT(fuzz_block.messages);
		return;
	}
	id = real_id(*(const u64 *)in);
	p = find(id);
	switch (d->code) {
	case HC_INITIALIZE_PARTITION:
	case HC_FINALIZE_PARTITION:
	case HC_DELETE_PARTITION:
	case HC_DELETE_VP:
	case HC_CREATE_VP:
		if (id == 1)
			return;
		if (!p)
			FAIL("call %lu, code %#x succeeded for partition %lu, which there is not", fuzz_last()->number,
			     d->code, id);
		break;
	default: return;
	}
	switch (d->code) {
	case HC_INITIALIZE_PARTITION: p->active = true; break;
	case HC_FINALIZE_PARTITION: p->active = false, p->vps = 0; break;
	case HC_DELETE_PARTITION:
		p->id = 0;
		pages_lost(id);
		break;
	case HC_CREATE_VP: p->vps |= BIT(((const struct in_create_vp *)in)->vp); break;
	case HC_DELETE_VP: p->vps &= ~BIT(((const struct in_delete_vp *)in)->vp); break;
	}
}

/* ---- children ---- */
static const struct { u8 n, bytes[10]; } snippets[] = {
	{ 2, { 0xe4, 0x10 } }, { 2, { 0xe6, 0x80 } }, { 1, { 0x6c } }, { 2, { 0xf3, 0x6e } },	/* in out ins outs */
	{ 2, { 0x0f, 0xa2 } }, { 2, { 0x0f, 0x32 } }, { 2, { 0x0f, 0x30 } }, { 1, { 0xf4 } },	/* cpuid msr hlt */
	{ 3, { 0x0f, 0x01, 0xd9 } }, { 3, { 0x0f, 0x01, 0xd8 } }, { 3, { 0x0f, 0x01, 0xda } },	/* vmmcall vmrun vmload */
	{ 3, { 0x0f, 0x01, 0xd1 } }, { 3, { 0x0f, 0x01, 0xdd } }, { 2, { 0xf3, 0x90 } },	/* xsetbv clgi pause */
	{ 5, { 0xb9, 0x00, 0x00, 0x00, 0x40 } }, { 5, { 0xb8, 0x01, 0x00, 0x00, 0x40 } },	/* synthetic MSR and leaf */
	{ 5, { 0xa1, 0x30, 0x00, 0xe0, 0xfe } }, { 5, { 0xa3, 0xb0, 0x00, 0xe0, 0xfe } },	/* APIC page */
	{ 10, { 0xc7, 0x05, 0x00, 0x03, 0xe0, 0xfe, 0x00, 0x45, 0x00, 0x00 } },			/* INIT by the ICR */
	{ 10, { 0xc7, 0x05, 0x80, 0x03, 0xe0, 0xfe, 0x10, 0x00, 0x00, 0x00 } },			/* APIC timer */
	{ 2, { 0x89, 0x03 } }, { 2, { 0x8b, 0x03 } }, { 1, { 0x43 } }, { 1, { 0x50 } },		/* memory at ebx */
	{ 2, { 0xcd, 0x20 } }, { 1, { 0xcf } }, { 1, { 0xfb } }, { 2, { 0x0f, 0x0b } },		/* int iret sti ud2 */
	{ 3, { 0x0f, 0x20, 0xc0 } }, { 3, { 0x0f, 0x22, 0xc0 } }, { 3, { 0x0f, 0x22, 0xe0 } },	/* cr0 cr4 */
	{ 3, { 0x0f, 0x01, 0x13 } }, { 3, { 0x0f, 0xae, 0x0b } }, { 2, { 0xeb, 0xfe } },		/* lgdt fxrstor jmp . */
	{ 2, { 0x8e, 0xd8 } }, { 3, { 0x0f, 0x00, 0xd8 } }, { 2, { 0xd9, 0xe8 } },			/* mov ds, ltr, fld1 */
};

static void random_code(u8 *code)
{
	u32 at = 0;

	while (at + sizeof snippets[0].bytes < CODE_BYTES) {
		u32 s = below(LENGTH(snippets));

		if (one_in(6)) {
			code[at++] = rnd();
			continue;
		}
		memcpy(code + at, snippets[s].bytes, snippets[s].n);
		at += snippets[s].n;
	}
}

static void unmap_stats(u32 kept)
{
	while (nstats > kept) {
		struct in_stats_page *in = call_in();

		*in = stats[--nstats];
		EXPECT(call(HC_UNMAP_STATS_PAGE), ST_OK, "UNMAP_STATS_PAGE of what was mapped");
	}
}

/* Deposits outnumber what partitions need: take the rest back before it is all gone. */
void fuzz_reclaim(void)
{
	unmap_stats(KEPT_STATS);
	if (pages_free() > PAGES_LOW)
		return;
	for (u32 i = 0; i < FUZZ_PARTITIONS; i++)
		if (fuzz_pool[i].id)
			withdraw_all(fuzz_pool[i].id);
	withdraw_all(1);
}

/* Nothing here must fail but for want of ids: what a call is refused for was fuzzed before. */
void fuzz_set_up(void)
{
	struct fuzz_partition *p = NULL;
	u64 id, code = child_frame();

	for (u32 i = 0; i < FUZZ_PARTITIONS && !p; i++)
		if (fuzz_pool[i].id && !fuzz_pool[i].active && one_in(2))
			p = &fuzz_pool[i];
	if (p) {			/* make room */
		id = p->id;
		with_partition(HC_FINALIZE_PARTITION, id);
		withdraw_all(id);
		if (!with_partition(HC_DELETE_PARTITION, id))
			p->id = 0;
	}
	if (create_partition(one_in(2) ? CREATE_LAPIC : 0, &id))
		return;
	forget(id);
	created(id);
	p = find(id);
	EXPECT(deposit(id, SETUP_PAGES).status, ST_OK, "DEPOSIT_MEMORY");
	EXPECT(with_partition(HC_INITIALIZE_PARTITION, id), ST_OK, "INITIALIZE_PARTITION");
	p->active = true;
	random_code(page_at(code));
	map_page(id, CODE_GFN, MAP_RWX, code);
	map_page(id, DATA_GFN, MAP_RW, child_frame());
	for (u32 vp = 0; vp < 2; vp++) {
		EXPECT(create_vp(id, vp), ST_OK, "CREATE_VP");
		p->vps |= BIT(vp);
	}
	flat_vp(id, 0, CODE_GFN * PAGE);
}

void fuzz_tear_down(void)
{
	unmap_stats(0);
	for (u32 i = 0; i < FUZZ_PARTITIONS; i++)
		if (fuzz_pool[i].id) {
			tear_down(fuzz_pool[i].id);
			fuzz_pool[i].id = 0;
		}
	withdraw_all(1);
	EXPECT(pages_deposited(1), 0, "pages of the root that did not come back");
}
