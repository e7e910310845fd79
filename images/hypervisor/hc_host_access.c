/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ACQUIRE and RELEASE_SPARSE_SPA_PAGE_HOST_ACCESS: the root gives up its own access to pages of a child whose memory is
 * private, and gets it back. RELEASE leaves the root the access that is named, ACQUIRE adds it.
 */
#include "hc.h"

#define HUGE_PAGES (LARGE_PAGES * LARGE_PAGES)
#define HOST_FLAGS (HOST_MAKE_EXCLUSIVE | HOST_MAKE_SHARED | HOST_LARGE_PAGE | HOST_HUGE_PAGE)

/* Partition (of an exclusive page), access, flags, first and last page. */
void hc_decode_host_access(struct hc *c)
{
	const struct in_host_access *in = c->in;

	hc_word(c, in->partition);
	hc_word(c, in->access);
	hc_word(c, in->flags);
	hc_word(c, in->pfn[c->start < c->reps ? c->start : 0]);
	hc_word(c, in->pfn[c->reps - 1]);
	c->partition = in->partition;
}

static u16 check(struct hc *c, u32 access, u32 flags, u64 partition, struct host_access *a)
{
	bool exclusive = flags & HOST_MAKE_EXCLUSIVE;
	struct partition *pt;

	a->acquire = c->code == HC_ACQUIRE_SPARSE_SPA_PAGE_HOST_ACCESS;
	a->access = access;
	a->shared = flags & HOST_MAKE_SHARED;
	if (flags & ~HOST_FLAGS || access & ~(NPT_R | NPT_W) || access == NPT_W)
		return ST_INVALID_PARAMETER;
	if ((exclusive && (a->shared || a->acquire || access)) || (flags & HOST_LARGE_PAGE && flags & HOST_HUGE_PAGE))
		return ST_INVALID_PARAMETER;
	if (!exclusive)
		return ST_OK;
	pt = hc_partition(c, partition);
	if (!pt || pt->id == ROOT_ID)
		return ST_INVALID_PARTITION_ID;
	a->slot = pt - parts;
	return pt->state == PT_FINALIZED ? ST_INVALID_PARTITION_STATE : ST_OK;
}

static u16 change(u64 pfn, u64 pages, const struct host_access *a)
{
	if (pfn & (pages - 1))
		return ST_INVALID_PARAMETER;
	for (u64 i = 0; i < pages; i++) {
		u16 st = page_host_access(pfn + i, a);
		if (st)
			return st;
	}
	return ST_OK;
}

u16 hc_host_access(struct hc *c)
{
	const struct in_host_access *in = c->in;
	u32 access = in->access, flags = in->flags;
	u64 pages = flags & HOST_HUGE_PAGE ? HUGE_PAGES : flags & HOST_LARGE_PAGE ? LARGE_PAGES : 1;
	struct host_access a = { 0 };
	u16 st = check(c, access, flags, in->partition, &a);

	for (c->done = c->start; c->done < c->reps && !st; c->done += !st)
		st = change(in->pfn[c->done], pages, &a);
	if (!a.acquire)
		root_shootdown();
	return st;
}
