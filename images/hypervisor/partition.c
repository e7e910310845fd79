/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Partitions and their deposited memory. */
#include "abi.h"
#include "apic_regs.h"
#include "hv.h"

struct partition parts[MAX_PARTS];
static u64 next_id = ROOT_ID + 1;

/* Free pages are linked through their first word: the root cannot reach it any more. Pages come out zeroed. */
void *pool_get(struct pool *p)
{
	u64 *page = (u64 *)p->head;

	if (!page)
		return NULL;
	p->head = *page;
	p->nfree--;
	page_state((u64)page / PAGE, PAGE_USED);
	return memset(page, 0, PAGE);
}

void pool_put(struct pool *p, void *page)
{
	page_state((u64)page / PAGE, PAGE_FREE);
	*(u64 *)page = p->head;
	p->head = (u64)page;
	p->nfree++;
}

/* A page that the root sees while it is in use. */
void *pool_get_visible(struct pool *p)
{
	void *page = pool_get(p);

	if (page)
		page_show((u64)page / PAGE);
	return page;
}

void pool_put_visible(struct pool *p, void *page)
{
	if (page_hide((u64)page / PAGE))
		root_shootdown();
	pool_put(p, page);
}

struct partition *pt_find(u64 id)
{
	for (u32 i = 0; i < MAX_PARTS; i++)
		if (parts[i].state != PT_FREE && parts[i].id == id)
			return &parts[i];
	return NULL;
}

u16 pt_create(u64 flags, u64 *id)
{
	for (u32 i = 1; i < MAX_PARTS; i++)
		if (parts[i].state == PT_FREE) {
			struct partition *pt = &parts[i];
			memset(pt, 0, sizeof *pt);
			pt->state = PT_CREATED;
			pt->id = *id = next_id++;
			pt->flags = flags;
			pt->asid = ASID_ROOT + i;
			pt->hv.ref_start = ref_time();
			return ST_OK;
		}
	return ST_NO_RESOURCES;
}

u16 pt_initialize(struct partition *pt)
{
	if (pt->state != PT_CREATED || pt->id == ROOT_ID)
		return ST_INVALID_PARTITION_STATE;
	pt->npt = (u64)pool_get(&pt->pool);
	if (!pt->npt)
		return ST_INSUFFICIENT_MEMORY;
	pt->state = PT_ACTIVE;
	return ST_OK;
}

static bool running(const struct partition *pt)
{
	for (u32 i = 0; i < MAX_VPS; i++)
		if (pt->vp[i].used && pt->vp[i].dispatching)
			return true;
	return false;
}

u16 pt_finalize(struct partition *pt)
{
	if (pt->state != PT_ACTIVE || pt->id == ROOT_ID || running(pt))
		return ST_INVALID_PARTITION_STATE;
	for (u32 i = 0; i < MAX_VPS; i++)
		if (pt->vp[i].used)
			vp_delete(pt, i);
	child_partition_free(pt);
	npt_free(pt);
	pt->state = PT_FINALIZED;
	return ST_OK;
}

u16 pt_delete(struct partition *pt)
{
	if (pt->state == PT_ACTIVE || pt->id == ROOT_ID)
		return ST_INVALID_PARTITION_STATE;
	if (pt->pool.ntotal)		/* the pool must be drained first */
		return ST_OPERATION_DENIED;
	pages_orphan(pt);
	port_forget(pt->id);
	pt->state = PT_FREE;
	return ST_OK;
}

/*
 * The second-level table changed: force running VPs out, so that their next VMRUN flushes. Called with hv_lock, hence
 * no VP enters meanwhile: a VP is marked in_guest under the lock, and takes the kick at its VMRUN at the latest.
 */
void pt_shootdown(struct partition *pt)
{
	for (u32 i = 0; i < MAX_VPS; i++) {
		struct vp *vp = &pt->vp[i];
		int lp;

		if (!vp->used)
			continue;
		vp->vmcb->tlb_ctl = TLB_FLUSH_ALL;
		lp = vp->in_guest;
		if (!lp)
			continue;
		apic_write_icr(lps[lp - 1].apic_id, ICR_ASSERT | KICK_VECTOR);
		while (vp->in_guest == lp)
			relax();
		vp->vmcb->tlb_ctl = TLB_FLUSH_ALL;
	}
}
