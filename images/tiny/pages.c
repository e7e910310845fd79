/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pages of RAM, and to which partition each was given: what comes back must be what went there. */
#include "tiny.h"

#define PAGES ((ARENA_END - ARENA_START) / PAGE)
#define FIRST (ARENA_START / PAGE)
enum { PAGE_FREE, PAGE_TAKEN, PAGE_DEPOSITED };

static u8 state[PAGES];
static u64 owner[PAGES];
static u32 next;

u64 page_take(void)
{
	for (u32 i = 0; i < PAGES; i++, next = (next + 1) % PAGES)
		if (state[next] == PAGE_FREE) {
			state[next] = PAGE_TAKEN;
			memset(page_at(FIRST + next), 0, PAGE);
			return FIRST + next;
		}
	FAIL("no page left of %lu", PAGES);
}

/* The area of the children's pages can be deposited as well, by a bad list. */
#define OTHERS ((LARGE_END - LARGE_START) / PAGE)
#define OTHERS_FIRST (LARGE_START / PAGE)
static u64 other_owner[OTHERS];

void page_deposited_elsewhere(u64 pfn, u64 partition)
{
	if (pfn < OTHERS_FIRST || pfn >= OTHERS_FIRST + OTHERS)
		FAIL("page %#lx was deposited, and is none of ours", pfn);
	other_owner[pfn - OTHERS_FIRST] = partition;
}

void pages_lost(u64 partition)
{
	for (u64 i = 0; i < PAGES; i++)
		if (state[i] == PAGE_DEPOSITED && owner[i] == partition)
			state[i] = PAGE_FREE;
	for (u64 i = 0; i < OTHERS; i++)
		if (other_owner[i] == partition)
			other_owner[i] = 0;
}

static u64 index_of(u64 pfn)
{
	if (pfn < FIRST || pfn >= FIRST + PAGES)
		FAIL("page %#lx is none of ours", pfn);
	return pfn - FIRST;
}

void page_give(u64 pfn) { state[index_of(pfn)] = PAGE_FREE; }

void page_untake(u64 pfn)
{
	u64 i = index_of(pfn);

	if (state[i] == PAGE_TAKEN)
		state[i] = PAGE_FREE;
}

void page_deposited(u64 pfn, u64 partition)
{
	u64 i = index_of(pfn);

	state[i] = PAGE_DEPOSITED;
	owner[i] = partition;
}

void page_withdrawn(u64 pfn, u64 partition)
{
	u64 i, n = pfn - OTHERS_FIRST;

	if (n < OTHERS && other_owner[n] == partition) {
		other_owner[n] = 0;
		return;
	}
	i = index_of(pfn);
	if (state[i] != PAGE_DEPOSITED)
		FAIL("page %#lx came out of partition %lu but was not deposited", pfn, partition);
	if (owner[i] != partition)
		FAIL("page %#lx came out of partition %lu but was deposited into %lu", pfn, partition, owner[i]);
	state[i] = PAGE_FREE;
}

u64 pages_deposited(u64 partition)
{
	u64 n = 0;

	for (u64 i = 0; i < PAGES; i++)
		n += state[i] == PAGE_DEPOSITED && owner[i] == partition;
	for (u64 i = 0; i < OTHERS; i++)
		n += other_owner[i] == partition;
	return n;
}

bool page_is_deposited(u64 pfn)
{
	if (pfn - FIRST < PAGES)
		return state[pfn - FIRST] == PAGE_DEPOSITED;
	return pfn - OTHERS_FIRST < OTHERS && other_owner[pfn - OTHERS_FIRST];
}

u64 pages_free(void)
{
	u64 n = 0;

	for (u64 i = 0; i < PAGES; i++)
		n += state[i] == PAGE_FREE;
	return n;
}

/* Pages that a case took for itself are free again. */
void pages_reset(void)
{
	for (u64 i = 0; i < PAGES; i++)
		if (state[i] == PAGE_TAKEN)
			state[i] = PAGE_FREE;
}
