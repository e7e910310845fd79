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
	u16 st = ST_OK;

	if (!pt)
		return ST_INVALID_PARTITION_ID;
	if (pt->state == PT_FINALIZED)
		return ST_INVALID_PARTITION_STATE;
	for (c->done = c->start; c->done < c->reps && !st; c->done += !st)
		st = page_take(in->pfn[c->done], pt);
	if (c->done > c->start)
		root_shootdown();
	pt->pool.ntotal += c->done - c->start;
	for (u32 i = c->done; i-- > c->start;)
		pool_put(&pt->pool, (void *)(in->pfn[i] * PAGE));
	return st;
}

u16 hc_withdraw(struct hc *c)
{
	const struct in_withdraw *in = c->in;
	struct out_withdraw *out = c->out;
	struct partition *pt = hc_partition(c, in->partition);

	if (!pt)
		return ST_INVALID_PARTITION_ID;
	if (in->proximity.flags & ~PROXIMITY_FLAGS)
		return ST_INVALID_PARAMETER;
	for (c->done = c->start; c->done < c->reps; c->done++) {
		void *p = pool_get(&pt->pool);
		if (!p)
			return ST_NO_RESOURCES;
		pt->pool.ntotal--;
		page_return((u64)p / PAGE);
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
	       (flags & MAP_ANY_EXECUTABLE ? NPT_X : 0) | (flags & MAP_NOT_CACHED ? NPT_UNCACHED : 0);
}

/* The kind of page, if it is not an ordinary one: no access, or the pages of zeros and ones that we do not have. */
static u16 check_map_flags(struct hc *c, u32 flags)
{
	u32 execute = flags & MAP_ANY_EXECUTABLE;

	if (flags & MAP_SPECIAL && (flags & MAP_SPECIAL) != MAP_NO_ACCESS) {
		c->flags |= FLAG_UNIMPLEMENTED;
		return ST_INVALID_PARAMETER;
	}
	if (flags & ~(MAP_KNOWN | MAP_IGNORED))
		return ST_INVALID_PARAMETER;
	if (!(flags & (MAP_READABLE | MAP_NO_ACCESS)) && flags & (MAP_WRITABLE | MAP_ANY_EXECUTABLE))
		return ST_INVALID_PARAMETER;	/* TLFS: the processor cannot have it */
	if (flags & MAP_IGNORED || (execute && execute != MAP_ANY_EXECUTABLE))
		c->flags |= FLAG_IGNORED;	/* one permission to execute for kernel and user */
	return ST_OK;
}

/* Partition and frames of a call that changes a child's mappings. */
static u16 check_target(const struct partition *pt, u64 gfn)
{
	if (!pt)
		return ST_INVALID_PARTITION_ID;
	if (pt->id == ROOT_ID)		/* the root's own frames are fixed */
		return ST_ACCESS_DENIED;
	if (pt->state != PT_ACTIVE)
		return ST_INVALID_PARTITION_STATE;
	return gfn > GFN_LAST ? ST_INVALID_PARAMETER : ST_OK;	/* frames after it cannot wrap then */
}

u16 hc_map_gpa(struct hc *c)
{
	const struct in_map_gpa *in = c->in;
	struct partition *pt = hc_partition(c, in->partition);
	u64 gfn = in->gfn;
	u32 flags = in->flags, access = access_of(flags);
	u64 n = stride(flags, MAP_LARGE_PAGE);
	u16 st = check_target(pt, gfn);

	st = st ? st : check_map_flags(c, flags);
	if (st)
		return st;
	child_overlays_lift(pt, gfn, c->reps * n);
	for (c->done = c->start; c->done < c->reps; c->done++) {
		st = npt_map(pt, gfn + c->done * n, in->pfn[c->done], access, n > 1);
		if (st)
			break;
	}
	child_overlays_lay(pt, gfn, c->reps * n);
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
	u64 gfn = in->gfn;
	u32 flags = in->flags;
	u64 n = stride(flags, UNMAP_LARGE_PAGE);
	u16 st = check_target(pt, gfn);

	if (st)
		return st;
	if (flags & ~(UNMAP_LARGE_PAGE | UNMAP_KEEP_PRECOMMITTED))
		return ST_INVALID_PARAMETER;
	if (flags & UNMAP_KEEP_PRECOMMITTED)
		c->flags |= FLAG_IGNORED;
	child_overlays_lift(pt, gfn, c->reps * n);
	for (c->done = c->start; c->done < c->reps; c->done++) {
		st = npt_unmap(pt, gfn + c->done * n, n > 1);
		if (st)
			break;
	}
	child_overlays_lay(pt, gfn, c->reps * n);
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
	u16 st = check_target(pt, gfn);

	if (st)
		return st;
	if (f & ~ACCESS_REQUESTS || set & clear)
		return ST_INVALID_PARAMETER;
	for (c->done = c->start; c->done < c->reps && !st; c->done += !st)
		st = npt_access_state(pt, gfn + c->done, set, clear, &out[c->done]);
	if (set || clear)
		pt_shootdown(pt);
	return st;
}
