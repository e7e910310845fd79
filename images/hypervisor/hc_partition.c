/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hypercalls about the life of a partition. */
#include "hc.h"

void hc_decode_create(struct hc *c)
{
	const struct in_create_partition *in = c->in;

	hc_word(c, in->flags);
	hc_word(c, in->compatibility);
	hc_word(c, in->isolation);
}

/* The new partition's number follows the input in the ledger. */
u16 hc_create_partition(struct hc *c)
{
	const struct in_create_partition *in = c->in;
	struct out_partition *out = c->out;
	u64 id;
	u16 st = pt_create(in->flags, &id);

	if (st)
		return st;
	out->partition = id;
	hc_partition(c, id);
	hc_word(c, id);
	return ST_OK;
}

static u16 on_partition(struct hc *c, u16 (*f)(struct partition *))
{
	const struct in_partition *in = c->in;
	struct partition *pt = hc_partition(c, in->partition);

	return pt ? f(pt) : ST_INVALID_PARTITION_ID;
}

u16 hc_initialize_partition(struct hc *c) { return on_partition(c, pt_initialize); }

/* VPs that still run, which only our own scheduler and careless callers let happen, are taken out first. */
u16 hc_finalize_partition(struct hc *c)
{
	const struct in_partition *in = c->in;
	struct partition *pt = hc_partition(c, in->partition);

	if (!pt)
		return ST_INVALID_PARTITION_ID;
	if (pt->state == PT_ACTIVE && pt->id != ROOT_ID && !sched_stop_partition(c->lp, pt)) {
		c->pt = NULL;
		return ST_INVALID_PARTITION_ID;
	}
	return pt_finalize(pt);
}

/* Pages that were deposited and never withdrawn are lost to the root: their number follows the input in the ledger. */
u16 hc_delete_partition(struct hc *c)
{
	u16 st = on_partition(c, pt_delete);

	hc_word(c, c->pt ? c->pt->pool.ntotal : 0);
	return st;
}
