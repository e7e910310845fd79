/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Partitions of a case. Whatever the case does, they are torn down after it and every page must come back. */
#include "tiny.h"

#define MAX_OWN 32
#define REPS_MAX 256			/* fits a page with every header used here */

static u64 own[MAX_OWN];
static u32 nown;

u16 create_partition(u64 flags, u64 *id)
{
	struct in_create_partition *in = call_in();
	struct out_partition *out = call_out();
	u16 st;

	in->flags = flags;
	st = call(HC_CREATE_PARTITION);
	*id = out->partition;
	if (!st && nown < MAX_OWN)
		own[nown++] = *id;
	return st;
}

u16 with_partition(u16 code, u64 id)
{
	struct in_partition *in = call_in();

	in->partition = id;
	return call(code);
}

struct result deposit(u64 id, u32 pages)
{
	struct in_deposit *in = call_in();
	u64 list[REPS_MAX];
	struct result r;

	in->partition = id;
	for (u32 i = 0; i < pages; i++)
		in->pfn[i] = list[i] = page_take();
	r = call_reps(HC_DEPOSIT_MEMORY, pages, 0);
	for (u32 i = 0; i < pages; i++) {
		if (i < r.done)
			page_deposited(list[i], id);
		else
			page_give(list[i]);
	}
	return r;
}

/* Withdraw until there is no more; the number of pages that came back. */
u32 withdraw_all(u64 id)
{
	struct in_withdraw *in = call_in();
	struct out_withdraw *out = call_out();
	struct result r;
	u32 n = 0;

	do {
		in->partition = id;
		r = call_reps(HC_WITHDRAW_MEMORY, REPS_MAX, 0);
		for (u32 i = 0; i < r.done; i++)
			page_withdrawn(out->pfn[i], id);
		n += r.done;
	} while (r.done == REPS_MAX && !r.status);
	return n;
}

u64 created_partition(u64 flags, u32 pages)
{
	u64 id;

	EXPECT(create_partition(flags, &id), ST_OK, "CREATE_PARTITION");
	EXPECT(deposit(id, pages).status, ST_OK, "DEPOSIT_MEMORY");
	return id;
}

u64 new_partition(u64 flags)
{
	u64 id = created_partition(flags, POOL);

	EXPECT(with_partition(HC_INITIALIZE_PARTITION, id), ST_OK, "INITIALIZE_PARTITION");
	return id;
}

void forget(u64 id)
{
	for (u32 i = 0; i < nown; i++)
		if (own[i] == id)
			own[i] = own[--nown];
}

void tear_down(u64 id)
{
	with_partition(HC_FINALIZE_PARTITION, id);
	withdraw_all(id);
	EXPECT(with_partition(HC_DELETE_PARTITION, id), ST_OK, "DELETE_PARTITION");
	EXPECT(pages_deposited(id), 0, "deposited pages that did not come back");
	forget(id);
}

const char *tear_down_all(void)
{
	while (nown)
		tear_down(own[nown - 1]);
	pages_reset();
	return NULL;
}

u16 create_vp(u64 id, u32 vp)
{
	struct in_create_vp *in = call_in();

	in->partition = id;
	in->vp = vp;
	return call(HC_CREATE_VP);
}

u16 delete_vp(u64 id, u32 vp)
{
	struct in_delete_vp *in = call_in();

	in->partition = id;
	in->vp = vp;
	return call(HC_DELETE_VP);
}

struct result map_pages(u64 id, u64 gfn, u32 flags, const u64 *pfn, u16 reps, u16 start)
{
	struct in_map_gpa *in = call_in();

	in->partition = id;
	in->gfn = gfn;
	in->flags = flags;
	memcpy(in->pfn, pfn, reps * sizeof *pfn);
	return call_reps(HC_MAP_GPA_PAGES, reps, start);
}

u16 map_page(u64 id, u64 gfn, u32 flags, u64 pfn) { return map_pages(id, gfn, flags, &pfn, 1, 0).status; }

struct result unmap_pages(u64 id, u64 gfn, u32 flags, u16 reps, u16 start)
{
	struct in_unmap_gpa *in = call_in();

	in->partition = id;
	in->gfn = gfn;
	in->flags = flags;
	return call_reps(HC_UNMAP_GPA_PAGES, reps, start);
}

u16 install_intercept(u64 id, u32 type, u32 access, u64 parameter)
{
	struct in_install_intercept *in = call_in();

	in->partition = id;
	in->type = type;
	in->access = access;
	in->parameter = parameter;
	return call(HC_INSTALL_INTERCEPT);
}
