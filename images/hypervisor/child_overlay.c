/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Overlay pages (TLFS 5.2.1): a page of ours appears at a frame that the guest names, over whatever the VMM mapped or
 * will map there, until the guest takes it away. All functions are called with hv_lock.
 */
#include "abi.h"
#include "hv.h"

/* The overlay that one sees at a frame: of several the first. */
static struct guest_overlay *top(struct partition *pt, u64 gfn)
{
	for (u32 i = 0; i < LENGTH(pt->overlay); i++)
		if (pt->overlay[i].used && pt->overlay[i].gfn == gfn)
			return &pt->overlay[i];
	return NULL;
}

bool child_overlay_at(const struct partition *pt, u64 gfn) { return pt->noverlays && top((void *)pt, gfn); }

static bool lay(struct partition *pt, struct guest_overlay *o)
{
	/* the partition's two pages are not for writing */
	u64 rights = PTE_P | PTE_U | SW_OVERLAY | (o - pt->overlay < OVERLAY_VP ? 0 : PTE_W);

	o->laid = npt_overlay(pt, o->gfn, (u64)o->page | rights, &o->below);
	return o->laid;
}

/* The tables for the frame are there, or it would not be laid. */
static void lift(struct partition *pt, struct guest_overlay *o)
{
	u64 ours;

	if (o->laid)
		npt_overlay(pt, o->gfn, o->below, &ours);
	o->laid = false;
}

/* False: no memory for the tables. */
bool child_overlay(struct partition *pt, u32 slot, u64 gfn, u8 *page)
{
	struct guest_overlay *o = &pt->overlay[slot], *there = top(pt, gfn);

	if (o->used && o->gfn == gfn)
		return true;
	child_overlay_off(pt, slot);
	if (there)
		lift(pt, there);
	*o = (struct guest_overlay){ .used = true, .gfn = gfn, .page = page };
	pt->noverlays++;
	if (!lay(pt, top(pt, gfn))) {
		child_overlay_off(pt, slot);
		return false;
	}
	pt_shootdown(pt);
	return true;
}

void child_overlay_off(struct partition *pt, u32 slot)
{
	struct guest_overlay *o = &pt->overlay[slot], *next;

	if (!o->used)
		return;
	lift(pt, o);
	o->used = false;
	pt->noverlays--;
	next = top(pt, o->gfn);
	if (next && !next->laid)
		lay(pt, next);
	pt_shootdown(pt);
}

static bool in_range(const struct guest_overlay *o, u64 gfn, u64 pages) { return o->used && o->gfn - gfn < pages; }

/* Around a change of the map by the VMM: it changes what lies below. No VP may run while an overlay is lifted. */
void child_overlays_lift(struct partition *pt, u64 gfn, u64 pages)
{
	bool out = false;

	for (u32 i = 0; pt->noverlays && i < LENGTH(pt->overlay); i++) {
		if (!in_range(&pt->overlay[i], gfn, pages))
			continue;
		if (!out)
			pt_shootdown(pt);	/* and none gets in again without hv_lock */
		out = true;
		lift(pt, &pt->overlay[i]);
	}
}

void child_overlays_lay(struct partition *pt, u64 gfn, u64 pages)
{
	for (u32 i = 0; pt->noverlays && i < LENGTH(pt->overlay); i++)
		if (in_range(&pt->overlay[i], gfn, pages) && top(pt, pt->overlay[i].gfn) == &pt->overlay[i])
			lay(pt, &pt->overlay[i]);
}
