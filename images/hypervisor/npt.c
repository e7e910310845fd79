/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Nested tables of children: 4 levels, table pages from the partition's deposited memory. A frame that the root maps
 * without access keeps a non-present entry with SW_NO_ACCESS. Each leaf counts as a use of the pages behind it (pages.c).
 * The host reads these tables: see lab/hypervisor/slat.py.
 */
#include "abi.h"
#include "hv.h"

#define SW_NO_ACCESS BIT(9)	/* and SW_OVERLAY, hv.h */
#define TABLE (PTE_P | PTE_W | PTE_U | PTE_A)
#define UNCACHED (PTE_PCD | PTE_PWT)	/* entry 3 of the PAT: UC */
#define LEVELS 4
#define LEAF_4K 1
#define LEAF_2M 2

/* Walk to the entry for gfn at the given level; "at" tells the level reached (a 2 MiB leaf may be in the way). */
static u64 *walk(struct partition *pt, u64 gfn, int level, bool alloc, int *at)
{
	u64 *table = (u64 *)pt->npt;

	for (int l = LEVELS;; l--) {
		u64 *e = &table[gfn >> (9 * (l - 1)) & (PTES - 1)];
		if (l == level || (l == LEAF_2M && *e & PTE_PS)) {
			*at = l;
			return e;
		}
		if (!(*e & PTE_P)) {
			u64 *n = alloc ? pool_get(&pt->pool) : NULL;
			if (!n)
				return NULL;
			*e = (u64)n | TABLE;
		}
		table = (u64 *)(*e & PTE_ADDR);
	}
}

/* Replace a 2 MiB leaf by a table of 4 KiB leaves that map the same. */
static bool split(struct partition *pt, u64 *e)
{
	u64 *n = pool_get(&pt->pool), step = *e & PTE_P ? PAGE : 0;

	if (!n)
		return false;
	for (u64 i = 0; i < PTES; i++)
		n[i] = (*e & ~PTE_PS) + i * step;
	if (*e & PTE_P) {
		pt->leaves_2m--;
		pt->leaves_4k += PTES;
	}
	__atomic_store_n(e, (u64)n | TABLE, __ATOMIC_RELEASE);
	return true;
}

/* The pages behind a leaf, or behind all leaves of a table of small ones, lose this use of them. The table goes. */
static void forget(struct partition *pt, u64 old, int level)
{
	u64 *table = (u64 *)(old & PTE_ADDR);

	if (!(old & PTE_P))
		return;
	if (level == LEAF_4K || old & PTE_PS) {
		pages_unshare((old & PTE_ADDR) / PAGE, level == LEAF_4K ? 1 : LARGE_PAGES);
		*(level == LEAF_4K ? &pt->leaves_4k : &pt->leaves_2m) -= 1;
		return;
	}
	for (u64 i = 0; i < PTES; i++)
		forget(pt, table[i], level - 1);
	pool_put(&pt->pool, table);
}

static void set_leaf(struct partition *pt, u64 *e, int level, u64 new)
{
	u64 old = *e;

	if (new & PTE_P)
		*(level == LEAF_4K ? &pt->leaves_4k : &pt->leaves_2m) += 1;
	pt->changes += old != new;
	__atomic_store_n(e, new, __ATOMIC_RELEASE);
	forget(pt, old, level);
}

static bool bad_range(u64 gfn, u64 pfn, bool large)
{
	return gfn > GFN_LAST || (large && (gfn | pfn) & (LARGE_PAGES - 1));
}

/* To the entry of exactly this level: a 2 MiB leaf above it is split. */
static u16 reach(struct partition *pt, u64 gfn, int level, bool alloc, u64 **e)
{
	for (;;) {
		int at;

		*e = walk(pt, gfn, level, alloc, &at);
		if (!*e)
			return alloc ? ST_INSUFFICIENT_MEMORY : ST_OK;
		if (at == level)
			return ST_OK;
		if (!split(pt, *e))
			return ST_INSUFFICIENT_MEMORY;
	}
}

/* Mapping a frame that is mapped already replaces the mapping. Without NPT_R the frame is known, but has no access. */
u16 npt_map(struct partition *pt, u64 gfn, u64 pfn, u32 access, bool large)
{
	int level = large ? LEAF_2M : LEAF_4K;
	u64 *e, new = SW_NO_ACCESS | (large ? PTE_PS : 0);
	u16 st;

	if (bad_range(gfn, access & NPT_R ? pfn : 0, large))
		return ST_INVALID_PARAMETER;
	if (access & NPT_R) {
		st = pages_share(pt, pfn, large ? LARGE_PAGES : 1);
		if (st)
			return st;
		new = pfn * PAGE | PTE_P | PTE_U | (access & NPT_W ? PTE_W : 0) | (access & NPT_X ? 0 : PTE_NX) |
		      (access & NPT_UNCACHED ? UNCACHED : 0) | (large ? PTE_PS : 0);
	}
	st = reach(pt, gfn, level, true, &e);
	if (!st)
		set_leaf(pt, e, level, new);
	else if (access & NPT_R)
		pages_unshare(pfn, large ? LARGE_PAGES : 1);
	return st;
}

/* Unmapping what is not mapped succeeds. */
u16 npt_unmap(struct partition *pt, u64 gfn, bool large)
{
	int level = large ? LEAF_2M : LEAF_4K;
	u64 *e;
	u16 st;

	if (bad_range(gfn, 0, large))
		return ST_INVALID_PARAMETER;
	st = reach(pt, gfn, level, false, &e);
	if (!st && e)
		set_leaf(pt, e, level, 0);
	return st;
}

/*
 * Put a leaf as it is over whatever a frame has; what was there comes back in *was, and keeps its use of the page behind
 * it. Putting that back ends the overlay. False: no memory for the tables.
 */
bool npt_overlay(struct partition *pt, u64 gfn, u64 leaf, u64 *was)
{
	u64 *e;

	if (gfn > GFN_LAST || reach(pt, gfn, LEAF_4K, true, &e) != ST_OK)
		return false;
	*was = *e;
	__atomic_store_n(e, leaf, __ATOMIC_RELEASE);
	return true;
}

bool npt_lookup(struct partition *pt, u64 gfn, u64 *pfn, u32 *access)
{
	int at;
	u64 *e = pt->npt && gfn <= GFN_LAST ? walk(pt, gfn, LEAF_4K, false, &at) : NULL;

	if (!e || !(*e & (PTE_P | SW_NO_ACCESS)))
		return false;
	*pfn = (*e & PTE_ADDR) / PAGE + (at == LEAF_2M ? gfn & (LARGE_PAGES - 1) : 0);
	*access = !(*e & PTE_P) ? NPT_NO_ACCESS : NPT_R | (*e & PTE_W ? NPT_W : 0) | (*e & PTE_NX ? 0 : NPT_X);
	return true;
}

/*
 * ACCESS_* of the frame as it was, then sets and clears the bits asked for. A large page has one state for all its
 * frames. A frame that is not mapped was neither accessed nor written.
 */
u16 npt_access_state(struct partition *pt, u64 gfn, u32 set, u32 clear, u8 *was)
{
	int at;
	u64 *e;

	if (gfn > GFN_LAST)
		return ST_INVALID_PARAMETER;
	e = walk(pt, gfn, LEAF_4K, false, &at);
	*was = 0;
	if (!e || !(*e & PTE_P))
		return ST_OK;
	*was = (*e & PTE_A ? ACCESS_ACCESSED : 0) | (*e & PTE_D ? ACCESS_DIRTY : 0);
	__atomic_and_fetch(e, ~((clear & ACCESS_ACCESSED ? PTE_A : 0) | (clear & ACCESS_DIRTY ? PTE_D : 0)), __ATOMIC_SEQ_CST);
	__atomic_or_fetch(e, (set & ACCESS_ACCESSED ? PTE_A : 0) | (set & ACCESS_DIRTY ? PTE_D : 0), __ATOMIC_SEQ_CST);
	return ST_OK;
}

void npt_free(struct partition *pt)
{
	if (pt->npt)
		forget(pt, pt->npt | TABLE, LEVELS + 1);
	pt->npt = 0;
}
