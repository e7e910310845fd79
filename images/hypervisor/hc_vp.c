/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hypercalls about virtual processors. */
#include "hc.h"

void hc_decode_vp(struct hc *c)
{
	const struct in_delete_vp *in = c->in;	/* CREATE_VP begins alike */

	hc_word(c, in->partition);
	hc_word(c, in->vp);
}

u16 hc_create_vp(struct hc *c)
{
	const struct in_create_vp *in = c->in;
	struct partition *pt = hc_partition(c, in->partition);
	u32 index = in->vp;

	if (!pt)
		return ST_INVALID_PARTITION_ID;
	if (pt->id == ROOT_ID && l1vh)
		return ST_ACCESS_DENIED;
	if (pt->id == ROOT_ID)
		return index < nlps ? ST_OK : ST_INVALID_VP_INDEX;
	return vp_create(pt, index);
}

u16 hc_delete_vp(struct hc *c)
{
	const struct in_delete_vp *in = c->in;
	struct partition *pt = hc_partition(c, in->partition);

	struct vp *vp;
	u64 id = in->partition;
	u32 index = in->vp;

	if (!pt || pt->id == ROOT_ID)
		return ST_INVALID_PARTITION_ID;
	vp = vp_find(pt, index);
	if (!vp)
		return ST_INVALID_VP_INDEX;
	if (!vp_stop(c->lp, vp))
		return hc_partition(c, id) ? ST_INVALID_VP_INDEX : ST_INVALID_PARTITION_ID;
	return vp_delete(pt, index);
}

/* ---- registers: partition, VP, first and last name; for SET also the first value ---- */
void hc_decode_get_registers(struct hc *c)
{
	const struct in_get_registers *in = c->in;

	hc_word(c, in->partition);
	hc_word(c, in->vp);
	hc_word(c, in->name[c->start < c->reps ? c->start : 0]);
	hc_word(c, in->name[c->reps - 1]);
}

void hc_decode_set_registers(struct hc *c)
{
	const struct in_set_registers *in = c->in;
	const struct wire_register *first = &in->element[c->start < c->reps ? c->start : 0];

	hc_word(c, in->partition);
	hc_word(c, in->vp);
	hc_word(c, first->name);
	hc_word(c, in->element[c->reps - 1].name);
	hc_word(c, first->value.low);
	hc_word(c, first->value.high);
}

/* Names we neither model nor know how to refuse properly show up in the ledger. */
static void note_name(struct hc *c, enum event_code what, u32 name, const struct vp *vp, u64 value)
{
	if (!vp_register_modelled(name))
		LEDGER_EVENT(c->lp, what, FLAG_UNIMPLEMENTED, name, vp->pt->id, vp->index, value);
}

/* These can be looked at while the VP runs: no other register has a value then. */
static bool live(u32 name)
{
	return name == REG_EXPLICIT_SUSPEND || name == REG_INTERCEPT_SUSPEND || name == REG_DISPATCH_SUSPEND ||
	       name == REG_ROOT_SIGNAL_COUNT;
}

/* A VP whose state is at hand: one that runs on another LP is taken out first, and goes on afterwards. */
static u16 vp_at_rest(struct hc *c, u64 id, u32 index, struct vp **vp)
{
	u16 st = hc_vp(c, id, index, vp);

	if (st || !(*vp)->dispatching)
		return st;
	if (!vp_stop(c->lp, *vp))
		return hc_partition(c, id) ? ST_INVALID_VP_INDEX : ST_INVALID_PARTITION_ID;
	return hc_still_there(c) ? ST_OK : ST_INVALID_ALIGNMENT;
}

u16 hc_get_registers(struct hc *c)
{
	const struct in_get_registers *in = c->in;
	struct wire_value *out = c->out;
	u64 id = in->partition;
	u32 index = in->vp;
	struct vp *vp;
	u16 st = hc_vp(c, id, index, &vp);

	if (st)
		return st;
	for (c->done = c->start; c->done < c->reps; c->done++) {
		u32 name = in->name[c->done];
		u64 v[2];

		st = live(name) ? ST_OK : vp_at_rest(c, id, index, &vp);
		if (st)
			return st;
		if (!live(name))
			registers_page_sync(vp);
		note_name(c, EV_REGISTER_GET, name, vp, 0);
		st = vp_get_register(vp, name, v);
		if (st)
			return st;
		out[c->done] = (struct wire_value){ v[0], v[1] };
	}
	return ST_OK;
}

u16 hc_set_registers(struct hc *c)
{
	const struct in_set_registers *in = c->in;
	struct vp *vp;
	u16 st = vp_at_rest(c, in->partition, in->vp, &vp);

	if (st)
		return st;
	registers_page_sync(vp);
	for (c->done = c->start; c->done < c->reps; c->done++) {
		struct wire_register e = in->element[c->done];
		u64 v[2] = { e.value.low, e.value.high };

		note_name(c, EV_REGISTER_SET, e.name, vp, v[0]);
		st = vp_set_register(c->lp, vp, e.name, v);
		if (st)
			return st;
		if (sched_is_ours() && (live(e.name) || e.name == REG_ACTIVITY))
			sched_wake(c->lp);	/* it may be able to run now */
	}
	registers_page_refresh(vp);
	return ST_OK;
}

/* ---- images and pages ---- */
u16 hc_vp_state(struct hc *c)
{
	const struct in_vp_state *in = c->in;
	u32 type = in->type;
	struct vp *vp;
	u16 st = vp_at_rest(c, in->partition, in->vp, &vp);

	if (st)
		return st;
	if (type == VP_STATE_TIMERS)
		return child_timer_state(c, vp);
	st = vp_state(vp, type, in->pfn, c->varhead, c->code == HC_SET_VP_STATE);
	if (st && type != VP_STATE_LAPIC && type != VP_STATE_XSAVE)
		LEDGER_EVENT(c->lp, EV_STATE_TYPE, FLAG_UNIMPLEMENTED, type, vp->pt->id, vp->index);
	return st;
}

void hc_decode_state_page(struct hc *c)
{
	const struct in_unmap_state_page *in = c->in;	/* MAP_VP_STATE_PAGE begins alike */

	hc_word(c, in->partition);
	hc_word(c, in->vp);
	hc_word(c, in->type);
}

static void *state_page(struct vp *vp, u32 type)
{
	switch (type) {
	case STATE_PAGE_REGISTERS: return vp->regs_page;
	case STATE_PAGE_MESSAGE: return vp->msg_page;
	}
	return NULL;
}

/* The page comes from deposited memory; the root sees it from now on. */
u16 hc_map_state_page(struct hc *c)
{
	const struct in_map_state_page *in = c->in;
	struct out_map_page *out = c->out;
	struct vp *vp;
	void *page;
	u16 st = hc_vp(c, in->partition, in->vp, &vp);

	if (st)
		return st;
	if (in->flags & ~MAP_STATE_LOCATION || in->type > STATE_PAGE_MESSAGE)
		return ST_INVALID_PARAMETER;
	if (in->flags) {		/* only an L1VH parent may choose */
		u64 at = in->location;

		if (!l1vh || at >> (64 - PAGE_SHIFT) || !root_ptr(at * PAGE, PAGE))
			return ST_INVALID_PARAMETER;
		vp->state_at[in->type] = at * PAGE;
		overlay_state_out(vp);
		out->pfn = at;
		return ST_OK;
	}
	page = state_page(vp, in->type);
	if (!page)
		return ST_INVALID_PARAMETER;
	page_show((u64)page / PAGE);
	out->pfn = (u64)page / PAGE;
	return ST_OK;
}

u16 hc_unmap_state_page(struct hc *c)
{
	const struct in_unmap_state_page *in = c->in;
	struct vp *vp;
	void *page;
	u16 st = hc_vp(c, in->partition, in->vp, &vp);

	if (st)
		return st;
	page = state_page(vp, in->type);
	if (!page || (!vp->state_at[in->type] && !page_visible((u64)page / PAGE)))
		return ST_INVALID_PARAMETER;	/* no such page, or not mapped */
	if (in->type == STATE_PAGE_REGISTERS)
		overlay_state_in(vp);
	vp->state_at[in->type] = 0;
	if (page_hide((u64)page / PAGE))
		root_shootdown();
	return ST_OK;
}

/* ---- running ---- */
void hc_decode_dispatch(struct hc *c)
{
	const struct in_dispatch *in = c->in;

	hc_word(c, in->partition);
	hc_word(c, in->vp);
	hc_word(c, in->flags);
}

/* State and event follow the input in the ledger. */
u16 hc_dispatch(struct hc *c)
{
	const struct in_dispatch *in = c->in;
	struct out_dispatch *out = c->out, result = { 0 };
	struct vp *vp;
	u16 st = hc_vp(c, in->partition, in->vp, &vp);

	if (st)
		return st;
	st = vp_dispatch(c->lp, vp, in->flags, &result);
	if (hc_still_there(c))
		*out = result;
	hc_word(c, result.state);
	hc_word(c, result.event);
	return st;
}
