/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hypercalls about memory: deposited pages, guest physical mappings, access states. */
#include "hc.h"

static u64 last_of(const struct hc *c) { return c->reps ? c->reps - 1 : 0; }

/* ---- deposited pages ---- */
void hc_decode_deposit(struct hc *c)
{
	const struct in_deposit *in = c->in;

	hc_word(c, in->partition);
	hc_word(c, in->pfn[c->start]);
	hc_word(c, in->pfn[last_of(c)]);
}

u16 hc_deposit(struct hc *c)
{
	const struct in_deposit *in = c->in;
	struct partition *pt = hc_partition(c, in->partition);

	if (!pt)
		return ST_INVALID_PARTITION_ID;
	for (c->done = c->start; c->done < c->reps; c->done++) {
		u64 pfn = in->pfn[c->done];
		if (!spa_is_root_ram(pfn))
			return ST_INVALID_PARAMETER;
		pool_put(&pt->pool, (void *)(pfn * PAGE));
		pt->pool.ntotal++;
	}
	return ST_OK;
}

u16 hc_withdraw(struct hc *c)
{
	const struct in_withdraw *in = c->in;
	struct out_withdraw *out = c->out;
	struct partition *pt = hc_partition(c, in->partition);

	if (!pt)
		return ST_INVALID_PARTITION_ID;
	for (c->done = c->start; c->done < c->reps; c->done++) {
		void *p = pool_get(&pt->pool);
		if (!p)
			return ST_NO_RESOURCES;
		pt->pool.ntotal--;
		out->pfn[c->done] = (u64)p / PAGE;
	}
	return ST_OK;
}

/* ---- guest physical mappings ---- */
static u64 stride(u32 flags, u32 large) { return flags & large ? LARGE_PAGES : 1; }

/* Partition, first GFN, flags, first and last SPA page, whether the SPAs ascend without a gap. */
void hc_decode_map_gpa(struct hc *c)
{
	const struct in_map_gpa *in = c->in;
	u64 n = stride(in->flags, MAP_LARGE_PAGE), contiguous = 1;

	for (u32 i = c->start + 1u; i < c->reps && contiguous; i++)
		contiguous = in->pfn[i] == in->pfn[i - 1] + n;
	c->gfn = in->gfn + c->start * n;
	c->pages = (c->reps - c->start) * n;
	hc_word(c, in->partition);
	hc_word(c, c->gfn);
	hc_word(c, in->flags);
	hc_word(c, in->pfn[c->start < c->reps ? c->start : 0]);
	hc_word(c, in->pfn[last_of(c)]);
	hc_word(c, contiguous);
}

static u32 access_of(u32 flags)
{
	if (flags & MAP_NO_ACCESS)
		return 0;
	return (flags & MAP_READABLE ? NPT_R : 0) | (flags & MAP_WRITABLE ? NPT_W : 0) |
	       (flags & (MAP_KERNEL_EXECUTABLE | MAP_USER_EXECUTABLE) ? NPT_X : 0);
}

u16 hc_map_gpa(struct hc *c)
{
	const struct in_map_gpa *in = c->in;
	struct partition *pt = hc_partition(c, in->partition);
	u64 gfn = in->gfn, n = stride(in->flags, MAP_LARGE_PAGE);
	u32 flags = in->flags, access = access_of(flags);
	u16 st = ST_OK;

	if (!pt || pt->id == ROOT_ID)
		return ST_INVALID_PARTITION_ID;
	if (pt->state != PT_ACTIVE)
		return ST_INVALID_PARTITION_STATE;
	if (flags & ~MAP_KNOWN)
		c->flags |= FLAG_IGNORED;
	for (c->done = c->start; c->done < c->reps; c->done++) {
		u64 pfn = in->pfn[c->done];
		if (access && spa_is_private(pfn, n))
			st = ST_ACCESS_DENIED;
		else
			st = npt_map(pt, gfn + c->done * n, pfn, access, n > 1);
		if (st)
			break;
	}
	pt_shootdown(pt);
	return st;
}

void hc_decode_unmap_gpa(struct hc *c)
{
	const struct in_unmap_gpa *in = c->in;
	u64 n = stride(in->flags, UNMAP_LARGE_PAGE);

	c->gfn = in->gfn + c->start * n;
	c->pages = (c->reps - c->start) * n;
	hc_word(c, in->partition);
	hc_word(c, c->gfn);
	hc_word(c, in->flags);
}

u16 hc_unmap_gpa(struct hc *c)
{
	const struct in_unmap_gpa *in = c->in;
	struct partition *pt = hc_partition(c, in->partition);
	u64 gfn = in->gfn, n = stride(in->flags, UNMAP_LARGE_PAGE);
	u16 st = ST_OK;

	if (!pt || pt->id == ROOT_ID)
		return ST_INVALID_PARTITION_ID;
	if (pt->state != PT_ACTIVE)
		return ST_INVALID_PARTITION_STATE;
	for (c->done = c->start; c->done < c->reps; c->done++) {
		st = npt_unmap(pt, gfn + c->done * n, n > 1);
		if (st)
			break;
	}
	pt_shootdown(pt);
	return st;
}

void hc_decode_access_states(struct hc *c)
{
	const struct in_access_states *in = c->in;

	c->gfn = in->gfn + c->start;
	c->pages = c->reps - c->start;
	hc_word(c, in->partition);
	hc_word(c, c->gfn);
	hc_word(c, in->flags);
}

u16 hc_access_states(struct hc *c)
{
	const struct in_access_states *in = c->in;
	struct partition *pt = hc_partition(c, in->partition);
	u64 gfn = in->gfn, f = in->flags;
	u32 set = (f & ACCESS_SET_ACCESSED ? ACCESS_ACCESSED : 0) | (f & ACCESS_SET_DIRTY ? ACCESS_DIRTY : 0);
	u32 clear = (f & ACCESS_CLEAR_ACCESSED ? ACCESS_ACCESSED : 0) | (f & ACCESS_CLEAR_DIRTY ? ACCESS_DIRTY : 0);
	u8 *out = c->out;

	if (!pt || pt->id == ROOT_ID)
		return ST_INVALID_PARTITION_ID;
	if (pt->state != PT_ACTIVE)
		return ST_INVALID_PARTITION_STATE;
	for (c->done = c->start; c->done < c->reps; c->done++)
		out[c->done] = npt_access_state(pt, gfn + c->done, set, clear);
	if (set || clear)
		pt_shootdown(pt);
	return ST_OK;
}
