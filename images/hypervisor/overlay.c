/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pages of ours that lie over the parent's memory. A root partition finds them at addresses that we chose; an L1VH
 * parent names the addresses itself. There is no second mapping: while an overlay is on, what it covers is kept
 * aside, and comes back when it is moved or switched off.
 */
#include "abi.h"
#include "hv.h"

#define MAX_OVERLAYS (2 + 4 * MAX_LPS)	/* hypercall and TSC page; four pages of each VP */

struct overlay { u64 *msr; u8 *page, *under; };	/* the overlay's content and the covered memory, each while not seen */

bool l1vh;
static struct overlay overlays[MAX_OVERLAYS];
static u32 noverlays;

static bool provided_page(u64 gpa) { return gpa >= (u64)shared_start && gpa < (u64)shared_end; }

/* The memory to cover. While it is, it counts as mapped, so that the parent cannot deposit it. */
static u8 *cover(u64 msr)
{
	u64 gpa = PAGE_BASE(msr);

	if (provided_page(gpa))
		return (u8 *)gpa;
	return root_ptr(gpa, PAGE) && !pages_share(&parts[0], gpa / PAGE, 1) ? (u8 *)gpa : NULL;
}

/* An MSR that holds our page's address. "provided": an L1VH parent starts with that address as well. */
void overlay_init(u64 *msr, bool provided)
{
	struct overlay *o = &overlays[noverlays];

	if (!l1vh)
		return;
	if (noverlays++ == MAX_OVERLAYS)
		panic("too many overlay pages");
	*o = (struct overlay){ msr, page_alloc(), page_alloc() };
	memcpy(o->page, (void *)PAGE_BASE(*msr), PAGE);
	if (!provided)
		*msr = 0;
}

static struct overlay *find(const u64 *msr)
{
	for (u32 i = 0; i < noverlays; i++)
		if (overlays[i].msr == msr)
			return &overlays[i];
	return NULL;
}

/* The parent writes such an MSR. False: there is no memory of its own at that address. */
bool overlay_write(u64 *msr, u64 val)
{
	struct overlay *o = find(msr);
	u8 *p = (u8 *)PAGE_BASE(*msr), *next;

	if (!o) {			/* the root switches its pages on and off but cannot move them */
		*msr = (*msr & ~SMSR_ENABLE) | (val & SMSR_ENABLE);
		return true;
	}
	next = val & SMSR_ENABLE ? cover(val) : NULL;
	if (val & SMSR_ENABLE && !next)
		return false;
	if (*msr & SMSR_ENABLE) {
		memcpy(o->page, p, PAGE);
		memcpy(p, o->under, PAGE);
		if (!provided_page((u64)p))
			pages_unshare((u64)p / PAGE, 1);
	}
	*msr = val;
	if (next) {
		memcpy(o->under, next, PAGE);
		memcpy(next, o->page, PAGE);
	}
	return true;
}

/* ---- state pages of a child's VP, where its L1VH parent wants to see them ---- */
/* What the parent wrote into its register page; before the VP runs. */
void overlay_state_in(struct vp *vp)
{
	const void *p = vp->state_at[STATE_PAGE_REGISTERS] ? root_ptr(vp->state_at[STATE_PAGE_REGISTERS], PAGE) : NULL;

	if (p)
		memcpy(vp->regs_page, p, sizeof *vp->regs_page);
}

/* After a run: let the parent see both. */
void overlay_state_out(struct vp *vp)
{
	const void *ours[] = { vp->regs_page, vp->msg_page };
	static const u64 size[] = { sizeof *vp->regs_page, sizeof *vp->msg_page };

	for (u32 i = 0; i < LENGTH(ours); i++) {
		void *p = vp->state_at[i] ? root_ptr(vp->state_at[i], PAGE) : NULL;
		if (p)
			memcpy(p, ours[i], size[i]);
	}
}
