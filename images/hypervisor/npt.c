/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Nested tables of children: 4 levels, table pages from the partition's deposited memory. A frame that the root maps
 * without access keeps a non-present entry with SW_NO_ACCESS. The host reads these tables: see lab/hypervisor/slat.py.
 */
#include "abi.h"
#include "hv.h"

#define SW_NO_ACCESS BIT(9)
#define TABLE (PTE_P | PTE_W | PTE_U | PTE_A)
#define GFN_BITS 36
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
	*e = (u64)n | TABLE;
	return true;
}

/* A 2 MiB operation on a table of small leaves: the table goes. */
static void drop_table(struct partition *pt, u64 *e)
{
	u64 old = *e;

	*e = 0;
	if (old & PTE_P && !(old & PTE_PS))
		pool_put(&pt->pool, (void *)(old & PTE_ADDR));
}

static bool bad_range(u64 gfn, u64 pfn, bool large)
{
	return gfn >> GFN_BITS || (large && (gfn | pfn) & (LARGE_PAGES - 1));
}

/* Mapping a frame that is mapped already replaces the mapping. */
u16 npt_map(struct partition *pt, u64 gfn, u64 pfn, u32 access, bool large)
{
	int at, level = large ? LEAF_2M : LEAF_4K;
	u64 *e;

	if (bad_range(gfn, pfn, large) || pfn & ~(PTE_ADDR >> PAGE_SHIFT))
		return ST_INVALID_PARAMETER;
	for (;;) {
		e = walk(pt, gfn, level, true, &at);
		if (!e)
			return ST_INSUFFICIENT_MEMORY;
		if (at == level)
			break;
		if (!split(pt, e))
			return ST_INSUFFICIENT_MEMORY;
	}
	if (large)
		drop_table(pt, e);
	if (access & NPT_R)
		*e = pfn * PAGE | PTE_P | PTE_U | (access & NPT_W ? PTE_W : 0) | (access & NPT_X ? 0 : PTE_NX) |
		     (large ? PTE_PS : 0);
	else
		*e = SW_NO_ACCESS | (large ? PTE_PS : 0);
	return ST_OK;
}

/* Unmapping what is not mapped succeeds. */
u16 npt_unmap(struct partition *pt, u64 gfn, bool large)
{
	if (bad_range(gfn, 0, large))
		return ST_INVALID_PARAMETER;
	for (;;) {
		int at;
		u64 *e = walk(pt, gfn, large ? LEAF_2M : LEAF_4K, false, &at);

		if (!e)
			return ST_OK;
		if (at == LEAF_2M && !large) {
			if (!split(pt, e))
				return ST_INSUFFICIENT_MEMORY;
			continue;
		}
		if (large)
			drop_table(pt, e);
		else
			*e = 0;
		return ST_OK;
	}
}

bool npt_lookup(struct partition *pt, u64 gfn, u64 *pfn, u32 *access)
{
	int at;
	u64 *e = pt->npt && !(gfn >> GFN_BITS) ? walk(pt, gfn, LEAF_4K, false, &at) : NULL;

	if (!e || !(*e & (PTE_P | SW_NO_ACCESS)))
		return false;
	*pfn = (*e & PTE_ADDR) / PAGE + (at == LEAF_2M ? gfn & (LARGE_PAGES - 1) : 0);
	*access = !(*e & PTE_P) ? NPT_NO_ACCESS : NPT_R | (*e & PTE_W ? NPT_W : 0) | (*e & PTE_NX ? 0 : NPT_X);
	return true;
}

/* Returns ACCESS_* of the frame as it was, then sets and clears the bits asked for. */
u32 npt_access_state(struct partition *pt, u64 gfn, u32 set, u32 clear)
{
	int at;
	u64 *e = gfn >> GFN_BITS ? NULL : walk(pt, gfn, LEAF_4K, false, &at);
	u32 was;

	if (!e || !(*e & PTE_P))
		return 0;
	was = (*e & PTE_A ? ACCESS_ACCESSED : 0) | (*e & PTE_D ? ACCESS_DIRTY : 0);
	*e &= ~((clear & ACCESS_ACCESSED ? PTE_A : 0) | (clear & ACCESS_DIRTY ? PTE_D : 0));
	*e |= (set & ACCESS_ACCESSED ? PTE_A : 0) | (set & ACCESS_DIRTY ? PTE_D : 0);
	return was;
}

static void free_level(struct partition *pt, u64 *table, int level)
{
	for (u64 i = 0; level > LEAF_4K && i < PTES; i++)
		if (table[i] & PTE_P && !(table[i] & PTE_PS))
			free_level(pt, (u64 *)(table[i] & PTE_ADDR), level - 1);
	pool_put(&pt->pool, table);
}

void npt_free(struct partition *pt)
{
	if (pt->npt)
		free_level(pt, (u64 *)pt->npt, LEVELS);
	pt->npt = 0;
}
